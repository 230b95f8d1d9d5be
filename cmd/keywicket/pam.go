package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keywicket/keywicket/bridges/pam"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func pamStatus(p *pam.Server) *controlv1.BridgeStatus {
	b := &controlv1.BridgeStatus{Addresses: []string{p.Addr()}, Counters: map[string]uint64{}}
	c := p.Counters()
	for verdict, n := range c.Answers {
		b.Counters[verdict] = n
	}
	for reason, n := range c.Closed {
		b.Counters["closed, "+reason] = n
	}
	return b
}

// timedPAM measures how long it takes to decide a sign-in over PAM.
func (m *metrics) timedPAM(e pam.Engine) pam.Engine {
	return timedEngine{Engine: e, seconds: m.duration.WithLabelValues("pam")}
}

type timedEngine struct {
	pam.Engine
	seconds prometheus.Observer
}

func (e timedEngine) Verify(ctx context.Context, a core.Attempt) (core.Grant, error) {
	start := time.Now()
	g, err := e.Engine.Verify(ctx, a)
	e.seconds.Observe(time.Since(start).Seconds())
	return g, err
}

type pamCounters struct{ server *pam.Server }

func (pamCounters) descs() (answers, closed *prometheus.Desc) {
	answers = prometheus.NewDesc("keywicket_pam_requests_total", "Requests of the PAM module, by the answer.", []string{"answer"}, nil)
	closed = prometheus.NewDesc("keywicket_pam_closed_total", "Connections to the PAM socket that got no answer.", []string{"reason"}, nil)
	return answers, closed
}

// Describe and Collect make it a prometheus.Collector.
func (c pamCounters) Describe(out chan<- *prometheus.Desc) {
	answers, closed := c.descs()
	out <- answers
	out <- closed
}

func (c pamCounters) Collect(out chan<- prometheus.Metric) {
	answers, closed := c.descs()
	all := c.server.Counters()
	for verdict, n := range all.Answers {
		out <- prometheus.MustNewConstMetric(answers, prometheus.CounterValue, float64(n), verdict)
	}
	for reason, n := range all.Closed {
		out <- prometheus.MustNewConstMetric(closed, prometheus.CounterValue, float64(n), reason)
	}
}
