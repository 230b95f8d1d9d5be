package control

import (
	"errors"
	"io"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func TestReportConversions(t *testing.T) {
	t.Run("DeletedTry", func(t *testing.T) {
		survives(t, func(d core.DeletedTry) proto.Message {
			return fromReport(core.Report{Deleted: []core.DeletedTry{d}}).Deleted[0]
		})
	})
	t.Run("Finding", func(t *testing.T) {
		survives(t, func(f core.Finding) proto.Message {
			return fromReview(core.Report{Findings: []core.Finding{f}}).Findings[0]
		})
	})
	t.Run("Report", func(t *testing.T) {
		var full core.Report
		fill(t, reflect.ValueOf(&full).Elem())
		everySet(t, fromReport(full).ProtoReflect())
		everySet(t, fromReview(full).ProtoReflect())
	})
	t.Run("Import", func(t *testing.T) {
		var full core.ImportAccount
		fill(t, reflect.ValueOf(&full).Elem())
		if again := toImport(fromImport(full)); !reflect.DeepEqual(again, full) {
			t.Errorf("%+v became %+v", full, again)
		}
	})
	t.Run("Filter", func(t *testing.T) {
		f := toFilter(&controlv1.ListAllRequest{AtLimit: true, UnusedForSeconds: 2, ExpiringWithinSeconds: 3, Status: "active", DeletedStillTried: true})
		want := core.Filter{AtLimit: true, UnusedFor: 2 * time.Second, ExpiringWithin: 3 * time.Second, Status: "active", DeletedTried: true}
		if f != want || reflect.TypeOf(f).NumField() != 5 {
			t.Errorf("%+v, want %+v", f, want)
		}
		if d := span(math.MaxUint64); d < 290*365*24*time.Hour {
			t.Errorf("the longest time became %v", d)
		}
	})
}

// answers sends requests and returns how many responses came before the end.
func (c client) answers(t *testing.T, all ...*controlv1.ImportRequest) (got []*controlv1.ImportResponse, err error) {
	t.Helper()
	stream, err := c.accounts.Import(t.Context())
	must(t, err)
	for _, r := range all {
		_ = stream.Send(r) // why it failed, Recv says
	}
	_ = stream.CloseSend()
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, resp)
	}
}

func TestImport(t *testing.T) {
	f := newFixture(t, nil)
	c := f.dial()
	a := &controlv1.ImportAccount{Name: "a", Enabled: true, Groups: []string{"staff"}, Line: 7}
	b := &controlv1.ImportAccount{Name: "b b", Line: 8}
	write := func(resume bool, all ...*controlv1.ImportAccount) *controlv1.ImportRequest {
		return &controlv1.ImportRequest{Write: true, Resume: resume, Accounts: all}
	}
	check := &controlv1.ImportRequest{Accounts: []*controlv1.ImportAccount{a, b}}
	got, err := c.answers(t, check, check, write(false, a), check, write(true, a))
	if err != nil || len(got) != 5 {
		t.Fatalf("%d answers (%v)", len(got), err)
	}
	for i, want := range [][3]uint32{{1, 0, 1}, {1, 0, 1}, {1, 0, 0}, {0, 0, 2}, {0, 1, 0}} {
		if g := got[i]; g.Made != want[0] || g.Equal != want[1] || len(g.Faults) != int(want[2]) {
			t.Errorf("answer %d: %v, want %v", i, g, want)
		}
	}
	if first, there := got[0].Faults[0], got[3].Faults[0]; first.Line != 8 || first.Exists || first.Text == "" || there.Line != 7 || !there.Exists {
		t.Errorf("faults %v, %v", first, there)
	}
	got, err = c.answers(t, write(false, a), check)
	if status.Code(err) != codes.AlreadyExists || len(got) != 0 {
		t.Errorf("one that exists: %d answers, %v", len(got), err)
	}
	_, err = c.answers(t, write(false, b))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("one that cannot be: %v", err)
	}
	for _, r := range []*controlv1.ImportRequest{{Write: true}, {}} {
		for range core.MaxImport + 1 {
			r.Accounts = append(r.Accounts, a)
		}
		if _, err := c.answers(t, r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("too many: %v", err)
		}
	}
}

// Pages are put together: nobody is left out between two of them.
func TestReportsOfManyPages(t *testing.T) {
	f := newFixture(t, nil)
	const n = 2*reportPage + 3
	for i := range n {
		name := "user" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		_, err := f.engine.AddAccount(t.Context(), name, nil, nil)
		must(t, err)
		_, err = f.engine.Enroll(t.Context(), name) // so that it has a record
		must(t, err)
	}
	f.enroll(alain)
	f.enroll("zoe@contoso.com")
	c := f.dial()
	listed, err := c.ListAll(t.Context(), &controlv1.ListAllRequest{})
	must(t, err)
	var names []string
	for {
		r, err := listed.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, r.Account)
	}
	if len(names) != 2 || names[0] != alain || names[1] != "zoe@contoso.com" {
		t.Errorf("listed %q", names)
	}
	exported, err := c.accounts.Export(t.Context(), &controlv1.ExportRequest{})
	must(t, err)
	got := 0
	for {
		r, err := exported.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		got += len(r.Accounts)
	}
	if got != n+2 {
		t.Errorf("exported %d of %d", got, n+2)
	}
	refused, err := c.ListAll(t.Context(), &controlv1.ListAllRequest{Status: "gone"})
	must(t, err)
	if _, err := refused.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no status: %v", err)
	}
	review, err := c.Review(t.Context(), &controlv1.ReviewRequest{Account: "nobody"})
	must(t, err)
	if _, err := review.Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("review of nobody: %v", err)
	}
}
