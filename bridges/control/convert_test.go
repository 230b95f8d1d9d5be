package control

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// Every kind has a code of its own, so that a caller can tell what to do.
func TestCodeOf(t *testing.T) {
	want := map[core.Kind]codes.Code{
		core.KindInternal:    codes.Internal,
		core.KindDenied:      codes.PermissionDenied,
		core.KindInvalid:     codes.InvalidArgument,
		core.KindNotFound:    codes.NotFound,
		core.KindConflict:    codes.AlreadyExists,
		core.KindLimited:     codes.ResourceExhausted,
		core.KindUnavailable: codes.Unavailable,
		core.KindDamaged:     codes.DataLoss,
	}
	seen := map[codes.Code]core.Kind{}
	for _, k := range core.Kinds() {
		w, ok := want[k]
		if !ok {
			t.Errorf("kind %v: no row here; decide what the caller shall see", k)
			continue
		}
		err := statusOf(fmt.Errorf("while testing: %w", &core.Error{Op: "test", Kind: k, Err: errors.New("cause")}))
		if got := status.Code(err); got != w {
			t.Errorf("kind %v: %v, want %v", k, got, w)
		}
		if other, ok := seen[w]; ok {
			t.Errorf("kinds %v and %v cannot be told apart", other, k)
		}
		seen[w] = k
		if w == codes.OK {
			t.Errorf("kind %v is no error", k)
		}
	}
	for name, err := range map[string]error{"foreign": errors.New("disk on fire"), "kind never set": &core.Error{Op: "test"}} {
		if got := status.Code(statusOf(err)); got != codes.Internal {
			t.Errorf("%s: %v, want Internal", name, got)
		}
	}
	if statusOf(nil) != nil {
		t.Error("no error becomes one")
	}
}

// fill sets everything in v to something that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		*at = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("teach this test about %v", v.Type())
	}
}

// leaves calls each with every field of v that is no struct itself.
func leaves(path string, v reflect.Value, each func(path string, v reflect.Value)) {
	_, isTime := v.Interface().(time.Time)
	switch {
	case v.Kind() == reflect.Pointer:
		leaves(path, v.Elem(), each)
		each(path, v)
	case v.Kind() == reflect.Struct && !isTime:
		for i := range v.NumField() {
			leaves(path+"."+v.Type().Field(i).Name, v.Field(i), each)
		}
	default:
		each(path, v)
	}
}

// survives fails for a field of T that convert forgets, and for a field of the
// message that it leaves empty.
func survives[T any](t *testing.T, convert func(T) proto.Message) {
	t.Helper()
	var full T
	fill(t, reflect.ValueOf(&full).Elem())
	want := convert(full)
	everySet(t, want.ProtoReflect())
	leaves(reflect.TypeOf(full).Name(), reflect.ValueOf(&full).Elem(), func(path string, v reflect.Value) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		v.SetZero()
		if proto.Equal(convert(full), want) {
			t.Errorf("%s does not get into the message", path)
		}
		v.Set(was)
	})
}

// everySet fails for fields of m and its parts that are empty.
func everySet(t *testing.T, m protoreflect.Message) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if string(m.Descriptor().FullName()) == "google.protobuf.Timestamp" {
			return
		}
		if !m.Has(field) {
			t.Errorf("%s is not set", field.FullName())
			continue
		}
		if field.Message() != nil && !field.IsList() && !field.IsMap() {
			everySet(t, m.Get(field).Message())
		}
	}
}

func TestConversions(t *testing.T) {
	t.Run("AppPassword", func(t *testing.T) {
		survives(t, func(p core.AppPassword) proto.Message { return fromAppPassword(p) })
	})
	t.Run("Account", func(t *testing.T) {
		survives(t, func(a core.Account) proto.Message { return fromAccount(a) })
	})
	t.Run("Attempt", func(t *testing.T) {
		survives(t, func(a core.AttemptEntry) proto.Message { return fromAttempt(a) })
	})
	t.Run("Ref", func(t *testing.T) {
		survives(t, func(r core.Ref) proto.Message { return fromRef(r) })
	})
}

// A field that is forgotten is found, or TestConversions would prove nothing.
func TestConversionsFindsForgotten(t *testing.T) {
	var full core.AppPassword
	fill(t, reflect.ValueOf(&full).Elem())
	found := map[string]bool{}
	leaves("", reflect.ValueOf(&full).Elem(), func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s was not filled", path)
		}
		found[path] = true
	})
	for _, path := range []string{".Ref.ID", ".LastUse.Device", ".LastUse", ".Methods", ".Expires", ".Uses"} {
		if !found[path] {
			t.Errorf("%s was not visited: %v", path, found)
		}
	}
}

// What is absent is absent, and no year 1 or 1970.
func TestAbsentTimes(t *testing.T) {
	m := fromAppPassword(core.AppPassword{})
	if m.Expires != nil || m.Rotated != nil || m.LastUse != nil {
		t.Errorf("absent times became %v", m)
	}
	if got := fromTimestamp(timestamp(time.Time{})); !got.IsZero() {
		t.Errorf("the zero time became %v", got)
	}
	at := time.Date(2026, 11, 22, 9, 0, 0, 123456789, time.UTC)
	if got := fromTimestamp(timestamp(at)); !got.Equal(at) {
		t.Errorf("%v became %v", at, got)
	}
	if a := fromAttempt(core.AttemptEntry{}); a.Sentence != "" || a.AppPassword != nil {
		t.Errorf("a grant with the main password became %v", a)
	}
}

// What is asked gets to the engine: every field of the requests.
func TestRequests(t *testing.T) {
	f := newFixture(t, nil)
	f.enroll(alain)
	c, ctx := f.dial(), t.Context()
	expires := time.Now().Add(48 * time.Hour).Truncate(time.Millisecond)
	made, err := c.Create(ctx, &controlv1.CreateRequest{Account: alain, Name: "Xbox", Profile: "console", Expires: timestamp(expires)})
	must(t, err)
	if p := made.AppPassword; p.Name != "Xbox" || p.Profile != "console" || !p.Expires.AsTime().Equal(expires) || len(made.Password) != 28 {
		t.Errorf("created: %v", made)
	}
	v, err := c.Verify(ctx, &controlv1.VerifyRequest{Account: alain, Password: made.Password, Service: "radius/vpn1", Device: "00-11", Source: "2001:db8::1"})
	must(t, err)
	if !v.Granted || v.AppPassword.GetName() != "Xbox" || v.Reason != "" || v.Sentence != "" {
		t.Errorf("verify: %v", v)
	}
	all, err := c.ListAttempts(ctx, &controlv1.ListAttemptsRequest{Account: alain})
	must(t, err)
	if a := all.Attempts[0]; a.Service != "radius/vpn1" || a.Device != "00-11" || a.Source != "2001:db8::1" || a.Method != "cleartext" {
		t.Errorf("attempt: %v", a)
	}
	if _, err := c.Verify(ctx, &controlv1.VerifyRequest{Account: alain, Password: made.Password}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("at no service: %v", err)
	}
	if _, err := c.Verify(ctx, &controlv1.VerifyRequest{Account: alain, Password: made.Password, Service: "radius/vpn1", Source: "here"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a source that is no address: %v", err)
	}
	for overlap, want := range map[int64]codes.Code{-1: codes.InvalidArgument, 30*24*3600 + 1: codes.InvalidArgument,
		1 << 62: codes.InvalidArgument, -1 << 62: codes.InvalidArgument, 30 * 24 * 3600: codes.OK, 0: codes.OK} {
		if _, err := c.Rotate(ctx, &controlv1.RotateRequest{Account: alain, AppPassword: "Xbox", OverlapSeconds: overlap}); status.Code(err) != want {
			t.Errorf("overlap of %d s: %v, want %v", overlap, err, want)
		}
	}
}
