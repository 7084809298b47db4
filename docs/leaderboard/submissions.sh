#!/bin/sh
# The submissions of the reference explainers: run, sealed, verified and added as records. Hours on a CPU; a run that is
# stopped goes on, and what is there already is not made again.
#   submissions.sh FOLDER TASK ...      such as: docs/leaderboard/submissions.sh runs shapes photos
set -eu
here=$(dirname "$0")
folder=$1
shift
threads=${THREADS:-1}
# those of one or two passes are made again by the audit; of the others the scores are computed again from the stored maps
light="grad-cam grad-cam-plus-plus layer-cam eigen-cam fem mlfem saliency input-x-gradient"
heavy="integrated-gradients smoothgrad occlusion score-cam ablation-cam rise"
mkdir -p "$folder"
for task in "$@"; do
  vxp run "$task" $(for e in $light $heavy; do echo "--explainer $e"; done) --out "$folder/$task" --threads "$threads" \
    --batch-size 16 --device cpu
  for explainer in $light $heavy; do
    bundle="$folder/$task-$explainer.tar"
    again=
    case " $light " in *" $explainer "*) again="--regenerate $explainer" ;; esac
    # so many items find a change of 5 % of them with probability 0.95
    case $task in shapes) sample=54 ;; stamps) sample=40 ;; *) sample=24 ;; esac
    [ -e "$bundle" ] || {
      sed "s/EXPLAINER/$explainer/g; s/TASK/$task/g" "$here/submission.json" > "$folder/submission.json"
      vxp seal "$folder/$task" --explainer "$explainer" --submission "$folder/submission.json" --out "$bundle"
    }
    [ -e "$bundle.audit.json" ] || vxp verify "$bundle" --sample "$sample" $again --threads "$threads" --batch-size 16
    vxp leaderboard add "$bundle" --records "$here/records"
  done
done
vxp leaderboard build --records "$here/records" --out "$here"
