package pluginhost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
)

// A recorder writes down what a host and a plugin say to each other.
type recorder struct {
	mu  sync.Mutex
	all []*exchange
}

func marshalled(m any) []byte {
	octets, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.(proto.Message))
	if err != nil {
		panic(err)
	}
	return octets
}

// contractNow is the contract as it is.
func contractNow() []byte {
	return marshalled(protodesc.ToFileDescriptorProto(pluginv1.File_plugins_proto_pluginv1_plugin_proto))
}

func (r *recorder) add(e *exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := func(o *exchange) bool { return o.method == e.method && string(o.request) == string(e.request) }
	if strings.HasPrefix(e.method, "/keywicket.") && !slices.ContainsFunc(r.all, same) {
		r.all = append(r.all, e)
	}
}

func (r *recorder) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoker(ctx, method, req, reply, cc, opts...)
	e := &exchange{method: method, request: marshalled(req), code: status.Code(err)}
	if err == nil {
		e.answers = [][]byte{marshalled(reply)}
	}
	r.add(e)
	return err
}

func (r *recorder) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := streamer(ctx, desc, cc, method, opts...)
	return &recordedStream{s, r, &exchange{method: method, open: true}}, err
}

type recordedStream struct {
	grpc.ClientStream
	r *recorder
	e *exchange
}

func (s *recordedStream) SendMsg(m any) error {
	s.e.request = marshalled(m)
	s.r.add(s.e)
	return s.ClientStream.SendMsg(m)
}

func (s *recordedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	switch code := status.Code(err); {
	case err == nil:
		s.e.answers = append(s.e.answers, marshalled(m))
	case errors.Is(err, io.EOF):
		s.e.open = false
	case code != codes.Canceled: // by the test, at its end
		s.e.open, s.e.code = false, code
	}
	return err
}

// text is all of it, as readRecording reads it.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, e := range r.all {
		fmt.Fprintf(&b, "call %s\n> %x\n", e.method, e.request)
		for _, a := range e.answers {
			fmt.Fprintf(&b, "< %x\n", a)
		}
		if e.open {
			b.WriteString("stays open\n")
		} else {
			fmt.Fprintf(&b, "ends %d\n", e.code)
		}
	}
	return b.String()
}
