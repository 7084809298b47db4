#!/bin/sh
# The submissions of the reference explainers: run, sealed, verified to E3 and added as records. Hours on a CPU; a run that
# is stopped goes on, and what is there already is not made again.
#   submissions.sh FOLDER TASK ...      such as: docs/leaderboard/submissions.sh runs shapes photos
set -eu
here=$(dirname "$0")
folder=$1
shift
mkdir -p "$folder"
for task in "$@"; do
  vxp run "$task" --explainer all --out "$folder/$task" --threads "${THREADS:-2}" --batch-size 8 --device cpu
  for explainer in grad-cam grad-cam-plus-plus score-cam saliency input-x-gradient integrated-gradients smoothgrad occlusion rise; do
    bundle="$folder/$task-$explainer.tar"
    [ -e "$bundle" ] || {
      sed "s/EXPLAINER/$explainer/g; s/TASK/$task/g" "$here/submission.json" > "$folder/submission.json"
      vxp seal "$folder/$task" --explainer "$explainer" --submission "$folder/submission.json" --out "$bundle"
    }
    [ -e "$bundle.audit.json" ] || vxp verify "$bundle" --all --regenerate "$explainer" --threads "${THREADS:-2}" --batch-size 16
    vxp leaderboard add "$bundle" --records "$here/records"
  done
done
vxp leaderboard build --records "$here/records" --out "$here"
