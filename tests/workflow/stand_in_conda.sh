#!/bin/sh
# A stand-in for conda where its channels cannot be reached: an environment holds a `python` that
# starts the one that the tests run in. It tests how the workflow asks for environments and uses
# them, and nothing of conda: no channel, no solver, no package.
echo "$*" >> "$STAND_IN_CONDA/calls"
case "$*" in
  "info --json") echo "{\"conda_prefix\": \"$STAND_IN_CONDA\", \"conda_version\": \"25.1.0\", \"platform\": \"linux-64\"}" ;;
  "--version") echo "conda 25.1.0" ;;
  "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
  env\ create*)
    while [ $# -gt 0 ]; do
      case "$1" in
        --prefix)
          mkdir -p "$2/bin" "$2/conda-meta"
          printf '#!/bin/sh\nexec "%s/python" "$@"\n' "$STAND_IN_PYTHON" > "$2/bin/python"
          chmod +x "$2/bin/python" ;;
      esac
      shift
    done ;;
  clean*) ;;
  *) echo "stand-in conda was asked for: $*" >&2; exit 1 ;;
esac
