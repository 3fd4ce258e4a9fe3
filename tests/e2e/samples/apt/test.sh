#!/bin/sh
set -e
sh main.sh | grep -q ', 42$'
echo "greets with the answer"
