#!/bin/sh
# A stand-in for apptainer: a command "in the image" runs on this machine. It tests which commands
# the workflow sends into which image, and nothing of apptainer.
echo "$*" >> "$STAND_IN_APPTAINER/calls"
[ "$1" = --version ] && { echo "apptainer version 1.4.0"; exit; }
while [ "$1" != image.sif ]; do shift || exit 1; done
shift
exec "$@"
