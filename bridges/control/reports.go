package control

import (
	"math"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// reportPage is how many accounts a report reads at once.
const reportPage = 64

// ListAll sends the app passwords of all accounts that the filter asks for.
func (s *appPasswords) ListAll(r *controlv1.ListAllRequest, stream controlv1.AppPasswords_ListAllServer) error {
	f := toFilter(r)
	for after, end := "", false; !end; {
		found, next, err := s.engine.ListAll(stream.Context(), after, reportPage, f)
		if err != nil {
			return statusOf(err)
		}
		for _, each := range found {
			if err := stream.Send(fromReport(each)); err != nil {
				return err
			}
		}
		after, end = next, next == ""
	}
	return nil
}

// Review sends what somebody should look at.
func (s *appPasswords) Review(r *controlv1.ReviewRequest, stream controlv1.AppPasswords_ReviewServer) error {
	unused := span(r.UnusedForSeconds)
	if r.Account != "" {
		one, err := s.engine.ReviewAccount(stream.Context(), r.Account, unused)
		if err != nil || len(one.Findings) == 0 {
			return statusOf(err)
		}
		return stream.Send(fromReview(one))
	}
	for after, end := "", false; !end; {
		found, next, err := s.engine.Review(stream.Context(), after, reportPage, unused)
		if err != nil {
			return statusOf(err)
		}
		for _, each := range found {
			if err := stream.Send(fromReview(each)); err != nil {
				return err
			}
		}
		after, end = next, next == ""
	}
	return nil
}

// span returns what seconds are, or the longest time that there is.
func span(seconds uint64) time.Duration {
	return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
}

func toFilter(r *controlv1.ListAllRequest) core.Filter {
	return core.Filter{
		AtLimit: r.AtLimit, UnusedFor: span(r.UnusedForSeconds), ExpiringWithin: span(r.ExpiringWithinSeconds),
		Status: core.Status(r.Status), DeletedTried: r.DeletedStillTried,
	}
}

func fromReport(r core.Report) *controlv1.AccountAppPasswords {
	m := &controlv1.AccountAppPasswords{Account: r.Account.Name, Damaged: r.Damaged}
	for _, p := range r.AppPasswords {
		m.AppPasswords = append(m.AppPasswords, fromAppPassword(p))
	}
	for _, d := range r.Deleted {
		m.Deleted = append(m.Deleted, &controlv1.DeletedTry{
			AppPassword: fromRef(d.Ref), Deleted: timestamp(d.Deleted), Last: fromAttempt(d.Last), Tries: uint32(d.Tries),
		})
	}
	return m
}

func fromReview(r core.Report) *controlv1.AccountReview {
	m := &controlv1.AccountReview{Account: r.Account.Name, Damaged: r.Damaged}
	for _, f := range r.Findings {
		m.Findings = append(m.Findings, &controlv1.Finding{
			Kind: string(f.Kind), AppPassword: fromRef(f.AppPassword), Time: timestamp(f.Time), Device: f.Device, Sentence: f.Sentence,
		})
	}
	return m
}
