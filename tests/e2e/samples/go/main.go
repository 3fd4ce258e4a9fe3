// Greet answers HTTP requests with a greeting. It pulls in net/http so that a cold compile takes a while.
package main

import (
	"fmt"
	"log"
	"net/http"
)

const greeting = "hello"

// Greet makes a sentence for name.
func Greet(name string) string {
	return fmt.Sprintf("%s, %s", greeting, name)
}

func main() {
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		fmt.Fprintln(response, Greet(request.URL.Query().Get("name")))
	})
	log.Fatal(http.ListenAndServe(":8000", nil))
}
