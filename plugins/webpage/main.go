package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/keywicket/keywicket/plugins/client"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the address of the page")
	socket := flag.String("socket", "", "the daemon's control socket")
	config := flag.String("config", "", "the configuration of an engine to launch, instead of -socket")
	flag.Parse()
	log.Fatal(serve(*listen, *socket, *config))
}

func serve(listen, socket, config string) error {
	engine, err := open(socket, config)
	if err != nil {
		return err
	}
	defer engine.Close()
	server := http.Server{Addr: listen, Handler: protect(engine, page), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	return server.ListenAndServe()
}

func open(socket, config string) (*client.Client, error) {
	switch {
	case (socket == "") == (config == ""):
		return nil, errors.New("give one of -socket and -config")
	case config != "":
		return client.Launch(client.Options{Config: config, Log: os.Stderr})
	}
	return client.Dial(socket)
}

func page(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Welcome.") }

// protect asks for each request, and keeps no answer: an app password that was
// deleted is refused at the next one.
func protect(engine *client.Client, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		account, password, ok := r.BasicAuth()
		err := client.ErrRefused
		if ok {
			err = engine.Verify(r.Context(), &controlv1.VerifyRequest{
				Account: account, Password: password, Service: "web/wiki", Source: from.Addr().WithZone("").Unmap().String(),
			})
		}
		switch {
		case err == nil:
			next(w, r)
		case errors.Is(err, client.ErrRefused):
			w.Header().Set("WWW-Authenticate", `Basic realm="wiki", charset="UTF-8"`)
			http.Error(w, "A name and an app password are needed.", http.StatusUnauthorized)
		default:
			log.Print(err)
			http.Error(w, "Nobody can be let in at the moment.", http.StatusServiceUnavailable)
		}
	}
}
