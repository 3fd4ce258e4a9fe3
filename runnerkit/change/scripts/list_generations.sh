# Argument: the stack's directory. Answers a line for each generation: manifest, .env, images, in
# base64. Changes nothing.
encoded() { base64 <"$1" 2>/dev/null | tr -d '\n'; }
for kept in "$1"/generations/[0-9]*; do
    if [ -f "$kept/manifest.json" ]; then
        printf '%s\t%s\t%s\n' "$(encoded "$kept/manifest.json")" "$(encoded "$kept/.env")" \
            "$(encoded "$kept/images")"
    fi
done
