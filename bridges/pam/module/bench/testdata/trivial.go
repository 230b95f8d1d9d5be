// Trivial answers every question at its socket with a yes, to compare with.
package main

import (
	"log"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			question := make([]byte, 1024)
			if _, err := conn.Read(question); err == nil {
				_, _ = conn.Write([]byte{1}) // whoever hung up wants no answer
			}
		}()
	}
}
