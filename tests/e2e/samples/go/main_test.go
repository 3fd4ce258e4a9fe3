package main

import (
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestGreet(t *testing.T) {
	if sentence := Greet("world"); !strings.HasSuffix(sentence, ", world") {
		t.Fatalf("unexpected sentence %q", sentence)
	}
}

// What the databases say first, and what makes them say it: an SSL request, nothing, a ping.
var exchanges = map[string][2]string{
	"postgres": {"\x00\x00\x00\x08\x04\xd2\x16\x2f", "^[SN]"},
	"mysql":    {"", "^[^\x00]..\x00\x0a"}, // a packet's length and number, and the protocol's version
	"redis":    {"PING\r\n", "^\\+PONG"},
}

func TestDatabase(t *testing.T) {
	if os.Getenv("DATABASE_URL") == "" {
		t.Skip("DATABASE_URL is not set")
	}
	address, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	exchange := exchanges[address.Scheme]
	connection, err := net.DialTimeout("tcp", address.Host, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(connection, exchange[0])
	answer := make([]byte, 64)
	count, err := connection.Read(answer)
	if err != nil || !regexp.MustCompile("(?s)"+exchange[1]).Match(answer[:count]) {
		t.Fatalf("%s does not speak %s: %q, %v", address.Host, address.Scheme, answer[:count], err)
	}
}
