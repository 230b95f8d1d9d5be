package pluginhost_test

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/keywicket/keywicket/core/pluginhost"
)

// What a host and plugins of version 1 said to each other on 2026-11-22, octet by
// octet, and the contract that they had: a file for each kind. They stay as they
// are; when the contract grows, KEYWICKET_RECORD=FOLDER records it into another
// folder.
//
//go:embed testdata/v1
var recordings embed.FS

// An exchange is one call.
type exchange struct {
	method  string
	request []byte
	answers [][]byte
	code    codes.Code // how it ended
	open    bool       // it did not: a watch
}

// readRecording returns what there is of a kind.
func readRecording(kind string) (all []exchange, err error) {
	text, err := recordings.ReadFile("testdata/v1/" + kind + ".txt")
	for line := range strings.Lines(string(text)) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "call" {
			all = append(all, exchange{method: value})
			continue
		}
		last := &all[len(all)-1]
		switch word {
		case ">":
			last.request, err = hex.DecodeString(value)
		case "<":
			var answer []byte
			answer, err = hex.DecodeString(value)
			last.answers = append(last.answers, answer)
		case "ends":
			err = last.code.UnmarshalJSON([]byte(value))
		case "stays":
			last.open = true
		default:
			err = fmt.Errorf("%q is no line of a recording", line)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, err
}

// A contract is what was agreed on then.
type contract struct{ protoreflect.FileDescriptor }

func readContract() (contract, error) {
	octets, err := recordings.ReadFile("testdata/v1/contract.binpb")
	if err != nil {
		return contract{}, err
	}
	var file descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(octets, &file); err != nil {
		return contract{}, err
	}
	d, err := protodesc.NewFile(&file, protoregistry.GlobalFiles)
	return contract{d}, err
}

func (c contract) method(name string) protoreflect.MethodDescriptor {
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"+string(c.Package())+"."), "/")
	if s := c.Services().ByName(protoreflect.Name(service)); s != nil {
		return s.Methods().ByName(protoreflect.Name(method))
	}
	return nil
}

// read takes octets for what they were then: it knows nothing that came later.
func (c contract) read(what protoreflect.MessageDescriptor, octets []byte) (proto.Message, error) {
	m := dynamicpb.NewMessage(what)
	err := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(octets, m)
	if f := what.Fields().ByName("version"); f != nil && what.Name() == "DescribeResponse" {
		m.Clear(f) // of the plugin, and not of the contract
	}
	return m, err
}

// same says whether two messages were the same then.
func (c contract) same(what protoreflect.MessageDescriptor, a, b []byte) bool {
	one, errOne := c.read(what, a)
	other, errOther := c.read(what, b)
	return errOne == nil && errOther == nil && proto.Equal(one, other)
}

// octets is a message that is passed on as it is.
type octets []byte

// rawCodec passes octets on, and messages of go-plugin's own as ever.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	if raw, ok := v.(*octets); ok {
		return *raw, nil
	}
	return proto.Marshal(v.(proto.Message))
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	if raw, ok := v.(*octets); ok {
		*raw = slices.Clone(data)
		return nil
	}
	return proto.Unmarshal(data, v.(proto.Message))
}

// recordedServer is a plugin of version 1 that says what one said then. Nothing in
// it is today's: neither the handshake nor the contract nor the messages.
func recordedServer(kind string) {
	all, err := readRecording(kind)
	if err != nil {
		panic(err)
	}
	then, err := readContract()
	if err != nil {
		panic(err)
	}
	answer := func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		var request octets
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		for _, e := range all {
			if e.method != method || !then.same(then.method(method).Input(), request, e.request) {
				continue
			}
			for _, a := range e.answers {
				if err := stream.SendMsg((*octets)(&a)); err != nil {
					return err
				}
			}
			if e.open {
				<-stream.Context().Done()
			}
			return status.Error(e.code, "as recorded")
		}
		return status.Errorf(codes.Unimplemented, "nobody asked for this then: %s %x", method, request)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: "KEYWICKET_PLUGIN", MagicCookieValue: "7f1d4a0c2b9e4c6f8a53d1e60b7c9428"},
		VersionedPlugins: map[int]plugin.PluginSet{1: {"keywicket": conned{}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(answer))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// TestOldPlugin: today's host gets from a plugin of then what it got then.
func TestOldPlugin(t *testing.T) {
	t.Parallel()
	for _, kind := range pluginhost.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			if into := os.Getenv("KEYWICKET_RECORD"); into != "" {
				record(t, kind, into)
				return
			}
			travel(t, kind, recordedPrefix+string(kind))
		})
	}
}

// TestOldHost: today's plugin gives a host of then what it got then.
func TestOldHost(t *testing.T) {
	t.Parallel()
	then, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range pluginhost.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			all, err := readRecording(string(kind))
			if err != nil {
				t.Fatal(err)
			}
			conn := oldHost(t, mirrorPrefix+string(kind))
			for _, e := range all {
				answers, code, err := askAsRecorded(t.Context(), conn, then.method(e.method), e)
				if code != e.code {
					t.Errorf("%s %x ends with %v, and then with %v", e.method, e.request, err, e.code)
				}
				if !slices.EqualFunc(answers, e.answers, func(a, b []byte) bool { return then.same(then.method(e.method).Output(), a, b) }) {
					t.Errorf("%s %x is answered with %x, and was with %x", e.method, e.request, answers, e.answers)
				}
			}
		})
	}
}

// oldHost starts the plugin of a mode as a host of then did.
func oldHost(t *testing.T, mode string) *grpc.ClientConn {
	t.Helper()
	cmd := exec.Command(specOf(t, "", mode).Path)
	cmd.Env = append(os.Environ(), "TMPDIR="+socketDir(t))
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: "KEYWICKET_PLUGIN", MagicCookieValue: "7f1d4a0c2b9e4c6f8a53d1e60b7c9428"},
		VersionedPlugins: map[int]plugin.PluginSet{1: {"keywicket": conned{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              cmd, AutoMTLS: true, SkipHostEnv: true, Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	return protocol.(*plugin.GRPCClient).Conn
}

type conned struct{ plugin.NetRPCUnsupportedPlugin }

func (conned) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (conned) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// askAsRecorded sends the request of e, and returns as many answers as there were.
func askAsRecorded(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, e exchange) (answers [][]byte, code codes.Code, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: m.IsStreamingServer()}, e.method, grpc.ForceCodec(rawCodec{}))
	if err == nil {
		err = errors.Join(stream.SendMsg((*octets)(&e.request)), stream.CloseSend())
	}
	for err == nil && !(e.open && len(answers) == len(e.answers)) {
		var a octets
		if err = stream.RecvMsg(&a); err == nil {
			answers = append(answers, a)
		}
		if !m.IsStreamingServer() {
			break
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return answers, status.Code(err), err
}

// TestRecordingsAreWhole: each method of then is in one, and each field of each
// message has something in one of them.
func TestRecordingsAreWhole(t *testing.T) {
	then, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[protoreflect.FullName]bool{}
	var look func(protoreflect.Message)
	look = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			seen[f.FullName()] = true
			switch {
			case f.IsMap() && f.MapValue().Message() != nil:
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { look(v.Message()); return true })
			case f.IsList() && f.Message() != nil:
				for i := range v.List().Len() {
					look(v.List().Get(i).Message())
				}
			case f.Message() != nil && !f.IsMap():
				look(v.Message())
			}
			return true
		})
	}
	for _, kind := range pluginhost.Kinds() {
		all, err := readRecording(string(kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			m := then.method(e.method)
			seen[m.FullName()] = true
			for what, list := range map[protoreflect.MessageDescriptor][][]byte{m.Input(): {e.request}, m.Output(): e.answers} {
				for _, octets := range list {
					message := dynamicpb.NewMessage(what)
					if err := proto.Unmarshal(octets, message); err != nil {
						t.Errorf("%s: %v", e.method, err)
					}
					look(message)
					later := append(slices.Clone(octets), 0xf8, 0x7f, 1) // field 2047, which there is not yet
					if !then.same(what, octets, later) {
						t.Errorf("%s: what is added later makes %x another message", e.method, octets)
					}
				}
			}
		}
	}
	for i := range then.Services().Len() {
		methods := then.Services().Get(i).Methods()
		for j := range methods.Len() {
			if m := methods.Get(j).FullName(); !seen[m] {
				t.Errorf("%s is not recorded", m)
			}
		}
	}
	for i := range then.Messages().Len() {
		fields := then.Messages().Get(i).Fields()
		for j := range fields.Len() {
			if f := fields.Get(j).FullName(); !seen[f] {
				t.Errorf("%s is nothing in every recording", f)
			}
		}
	}
}

// record writes down what is said to a mirror of a kind, into a folder.
func record(t *testing.T, kind pluginhost.Kind, into string) {
	t.Helper()
	r := &recorder{}
	travel(t, kind, mirrorPrefix+string(kind), grpc.WithChainUnaryInterceptor(r.unary), grpc.WithChainStreamInterceptor(r.stream))
	if err := errors.Join(
		os.WriteFile(filepath.Join(into, string(kind)+".txt"), []byte(r.text()), 0o600),
		os.WriteFile(filepath.Join(into, "contract.binpb"), contractNow(), 0o600),
	); err != nil {
		t.Fatal(err)
	}
}
