#!/bin/sh
greeting=hello
echo "$greeting, $(echo '6 * 7' | bc)"
