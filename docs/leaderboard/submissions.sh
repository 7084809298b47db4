#!/bin/sh
# The submissions of the reference explainers: run, sealed, verified and added as records. Hours on a CPU; a run that is
# stopped goes on, and what is there already is not made again.
#   submissions.sh FOLDER TASK ...      such as: docs/leaderboard/submissions.sh runs shapes photos
# KEYS, a folder outside of the repository, holds the private keys; sign.py makes them where they are missing.
set -eu
here=$(dirname "$0")
folder=$1
shift
threads=${THREADS:-1}
keys=${KEYS:?a folder outside of the repository for the private keys, such as KEYS=~/vxp-keys}
# those of a few passes are made again by the audit; of the others the scores are computed again from the stored maps
light="grad-cam grad-cam-plus-plus layer-cam eigen-cam fem mlfem saliency input-x-gradient lrp"
learned="l-cam-fm l-cam-img tame"
heavy="integrated-gradients smoothgrad occlusion score-cam ablation-cam rise extremal-perturbation lime kernel-shap sobol"
mkdir -p "$folder"
# beside the task's own: what the comparison of the explainers asks for everywhere
mosaic="pointing-game|tolerance:0.5,energy-pointing-game,grid-pointing-game,relevance-rank,entropy,gini,road-morf,road-lerf"
for keep in 100 50 15; do
  mosaic="$mosaic,average-drop|keep:$keep,increase-in-confidence|keep:$keep,average-gain|keep:$keep"
done
for task in "$@"; do
  metrics=
  # sample: so many items find a change of 5 % of them with probability 0.95
  case $task in
    shapes) sample=54 batch=16 again="$light $learned" once=$heavy ;;
    stamps) sample=40 batch=16 again="$light $learned" once=$heavy ;;
    # nothing to submit of the learned ones: the classes of the photos were not trained
    photos) sample=24 batch=16 again=$light once=$heavy ;;
    mosaic-photos) sample=24 batch=8 again=$light once=$heavy metrics="--metrics $mosaic" ;;
    *) echo "submissions.sh: no submissions are made on the task '$task'" >&2; exit 2 ;;
  esac
  vxp run "$task" $(for e in $light $learned $heavy; do echo "--explainer $e"; done) $metrics --out "$folder/$task" \
    --threads "$threads" --batch-size "$batch" --device cpu
  for explainer in $again $once; do
    bundle="$folder/$task-$explainer.tar"
    regenerate=
    case " $again " in *" $explainer "*) regenerate="--regenerate $explainer" ;; esac
    [ -e "$bundle" ] || {
      sed "s/EXPLAINER/$explainer/g; s/TASK/$task/g" "$here/submission.json" > "$folder/submission.json"
      vxp seal "$folder/$task" --explainer "$explainer" --submission "$folder/submission.json" --out "$bundle"
    }
    [ -e "$bundle.audit.json" ] ||
      vxp verify "$bundle" --sample "$sample" $regenerate --threads "$threads" --batch-size "$batch"
    vxp leaderboard add "$bundle" --records "$here/records" --audit "$bundle.audit.json"
  done
done
python "$here/sign.py" "$keys"
vxp leaderboard build --records "$here/records" --out "$here"
