package control

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// rawCodec sends and receives octets as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (rawCodec) Name() string                       { return "proto" }

const verifyMethod = "/keywicket.control.v1.AppPasswords/Verify"

// fuzzMethods returns the methods that reach the engine, and some that do not
// exist.
func fuzzMethods() []string {
	all := []string{"/", "/none/None", "//", "/keywicket.control.v1.AppPasswords/", "/keywicket.control.v1.Accounts/list"}
	for _, desc := range []grpc.ServiceDesc{controlv1.AppPasswords_ServiceDesc, controlv1.Accounts_ServiceDesc, controlv1.Sessions_ServiceDesc} {
		for _, m := range desc.Methods {
			all = append(all, fmt.Sprintf("/%s/%s", desc.ServiceName, m.MethodName))
		}
		for _, m := range desc.Streams {
			all = append(all, fmt.Sprintf("/%s/%s", desc.ServiceName, m.StreamName))
		}
	}
	return all
}

// Whatever octets are sent to whatever method: no panic (which is Internal), an
// answer in time, and never a grant, because nobody can say an app password of
// this engine.
func FuzzControl(f *testing.F) {
	methods := fuzzMethods()
	for i, method := range methods {
		for _, m := range []proto.Message{
			&controlv1.CreateRequest{Account: alain, Name: "Xbox", Profile: "console"},
			&controlv1.VerifyRequest{Account: alain, Password: "kfmwtbrqhjaxpdnesgcy", Service: "radius/vpn1", Device: "d", Source: "192.0.2.1"},
			&controlv1.AppPasswordRequest{Account: alain, AppPassword: "First app password"},
			&controlv1.RotateRequest{Account: alain, AppPassword: "First app password", OverlapSeconds: 1 << 40},
			&controlv1.AddAccountRequest{Account: "beate", Groups: []string{"a"}, MainPassword: "correct horse"},
		} {
			octets, err := proto.Marshal(m)
			must(f, err)
			f.Add(uint8(i), octets)
		}
		if method == verifyMethod {
			f.Add(uint8(i), []byte("\x0a\x11"+alain+"\x12\x00\x1a\x01s"))
		}
		f.Add(uint8(i), []byte("\x0a\xff\xff\xff\xff\x0f"))
		f.Add(uint8(i), []byte{})
	}
	server := newFixture(f, nil)
	server.enroll(alain)
	conn := server.dial().conn
	f.Fuzz(func(t *testing.T, which uint8, request []byte) {
		method := methods[int(which)%len(methods)]
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var reply []byte
		err := conn.Invoke(ctx, method, &request, &reply, grpc.ForceCodec(rawCodec{}))
		switch code := status.Code(err); code {
		case codes.Internal:
			// The library's own word for octets that are no message.
			var v controlv1.VerifyRequest
			if proto.Unmarshal(request, &v) == nil && method == verifyMethod {
				t.Errorf("%s: %v", method, err)
			}
			if status.Convert(err).Message() == "internal error; the log says more" {
				t.Errorf("%s: a panic", method)
			}
		case codes.Unavailable, codes.DeadlineExceeded, codes.DataLoss:
			t.Errorf("%s: %v", method, err)
		}
		if method == verifyMethod && err == nil {
			var v controlv1.VerifyResponse
			must(t, proto.Unmarshal(reply, &v))
			if v.Granted || v.Reason == "" || v.Sentence == "" {
				t.Errorf("%x was answered with %v", request, &v)
			}
		}
	})
}

// The fuzzer would see a grant and a panic if there were one.
func TestFuzzSees(t *testing.T) {
	f := newFixture(t, nil)
	first := f.enroll(alain)
	request, err := proto.Marshal(&controlv1.VerifyRequest{Account: alain, Password: first.Password, Service: "radius/vpn1"})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var reply []byte
	must(t, f.dial().conn.Invoke(ctx, verifyMethod, &request, &reply, grpc.ForceCodec(rawCodec{})))
	var v controlv1.VerifyResponse
	must(t, proto.Unmarshal(reply, &v))
	if !v.Granted {
		t.Errorf("not granted: %v", &v)
	}
}
