package main

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestGreet(t *testing.T) {
	if sentence := Greet("world"); !strings.HasSuffix(sentence, ", world") {
		t.Fatalf("unexpected sentence %q", sentence)
	}
}

// TestDatabase speaks the first exchange of PostgreSQL's protocol: an SSL request is answered S or N.
func TestDatabase(t *testing.T) {
	host := os.Getenv("DATABASE_HOST")
	if host == "" {
		t.Skip("DATABASE_HOST is not set")
	}
	request := []byte{0, 0, 0, 8, 4, 210, 22, 47}
	deadline := time.Now().Add(60 * time.Second)
	for {
		connection, err := net.DialTimeout("tcp", host+":5432", time.Second)
		if err == nil {
			defer connection.Close()
			connection.Write(request)
			answer := make([]byte, 1)
			if _, err = io.ReadFull(connection, answer); err == nil {
				if answer[0] != 'S' && answer[0] != 'N' {
					t.Fatalf("%s does not speak PostgreSQL: %q", host, answer)
				}
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no database at %s: %v", host, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
