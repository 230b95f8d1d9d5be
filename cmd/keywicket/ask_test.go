package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// A call ends after a while, and a person who is asked before it does not have to
// answer within that.
func TestOnlyCallsAreTimed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	timed := make(chan bool, 1)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		_, ok := stream.Context().Deadline()
		timed <- ok
		return status.Error(codes.Unimplemented, "")
	}))
	defer server.Stop()
	go func() { _ = server.Serve(l) }()
	err = askAt(t.Context(), path, func(ctx context.Context, d daemonClient) error {
		if at, ok := ctx.Deadline(); ok {
			t.Errorf("whoever is asked must answer by %s", at)
		}
		_, err := d.daemon.Status(ctx, &controlv1.StatusRequest{})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), path+" this is not answered") {
		t.Fatal(err)
	}
	if !<-timed {
		t.Error("a daemon that does not answer is waited for without end")
	}
}
