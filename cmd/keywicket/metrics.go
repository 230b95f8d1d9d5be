package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/proof"
)

// metrics are the figures that Prometheus asks for. Their names are fixed.
type metrics struct {
	registry *prometheus.Registry
	attempts *prometheus.CounterVec
	known    atomic.Pointer[[]knownAttempts] // of attempts, those that were used: finding them there takes long
	duration *prometheus.HistogramVec
	degraded prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keywicket_attempts_total", Help: "Attempts to sign in, by what came of them.",
		}, []string{"bridge", "method", "result", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keywicket_attempt_duration_seconds", Help: "How long the engine took to decide an attempt.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 12),
		}, []string{"bridge"}),
		degraded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keywicket_store_degraded", Help: "1 while the store does not answer, does not take every write, or its records cannot be opened.",
		}),
	}
	m.known.Store(&[]knownAttempts{})
	m.registry.MustRegister(m.attempts, m.duration, m.degraded)
	return m
}

// knownAttempts is a counter of metrics.attempts. There are few, and most
// attempts are those of the first.
type knownAttempts struct {
	bridge string
	method proof.Method
	reason core.Reason // which says the result too
	prometheus.Counter
}

// Record counts attempts.
func (m *metrics) Record(e core.Event) error {
	if e.Kind != core.EventAttempt {
		return nil
	}
	bridge, known := bridgeOf(e.Service), *m.known.Load()
	for i := range known {
		if k := &known[i]; k.bridge == bridge && k.method == e.Method && k.reason == e.Reason {
			k.Inc()
			return nil
		}
	}
	c := m.attempts.WithLabelValues(bridge, string(e.Method), e.Result(), string(e.Reason))
	c.Inc()
	more := append(slices.Clip(known), knownAttempts{bridge, e.Method, e.Reason, c})
	m.known.Store(&more) // another one that is lost by that is found again
	return nil
}

// bridgeOf returns the bridge of a service, as a label with few values: who
// asks at the control socket may name any service.
func bridgeOf(service string) string {
	bridge, _, _ := strings.Cut(service, "/")
	switch bridge {
	case "radius", "pam", "web":
		return bridge
	}
	return "other"
}

// timed measures how long a Verifier takes.
func (m *metrics) timed(e *core.Engine) radius.Verifier {
	return timedVerifier{Engine: e, since: time.Now(), seconds: m.duration.WithLabelValues("radius")}
}

type timedVerifier struct {
	*core.Engine
	since   time.Time // some: to look at the clock for how much later it is takes half as long as for the time
	seconds prometheus.Observer
}

var _ radius.Prompt = timedVerifier{}

func (v timedVerifier) Verify(ctx context.Context, a core.Attempt) (core.Grant, error) {
	start := time.Now()
	g, err := v.Engine.Verify(ctx, a)
	v.seconds.Observe(time.Since(start).Seconds())
	return g, err
}

func (v timedVerifier) VerifyText(a *core.Attempt, name, typed []byte, g *core.Grant) (decided bool, err error) {
	start := time.Since(v.since)
	decided, err = v.Engine.VerifyText(a, name, typed, g)
	if decided {
		v.seconds.Observe((time.Since(v.since) - start).Seconds())
	}
	return decided, err
}

// register shows the counters of a bridge.
func (m *metrics) register(c prometheus.Collector) { m.registry.MustRegister(c) }

type radiusCounters struct{ server *radius.Server }

func (radiusCounters) descs() (packets, dropped, old *prometheus.Desc) {
	packets = prometheus.NewDesc("keywicket_radius_packets_total", "RADIUS packets of known clients that came in, and all that went out.", []string{"code"}, nil)
	dropped = prometheus.NewDesc("keywicket_radius_dropped_total", "RADIUS packets that got no answer.", []string{"reason"}, nil)
	old = prometheus.NewDesc("keywicket_radius_old_secret_packets_total", "RADIUS packets that came with the old shared secret of a client, while it changes.", []string{"client"}, nil)
	return packets, dropped, old
}

// Describe and Collect make it a prometheus.Collector.
func (c radiusCounters) Describe(out chan<- *prometheus.Desc) {
	packets, dropped, old := c.descs()
	out <- packets
	out <- dropped
	out <- old
}

func (c radiusCounters) Collect(out chan<- prometheus.Metric) {
	packets, dropped, old := c.descs()
	for _, o := range c.server.OldSecrets() {
		out <- prometheus.MustNewConstMetric(old, prometheus.CounterValue, float64(o.Packets), o.Client)
	}
	all := c.server.Counters()
	for code, n := range all.Packets {
		out <- prometheus.MustNewConstMetric(packets, prometheus.CounterValue, float64(n), code)
	}
	for reason, n := range all.Dropped {
		out <- prometheus.MustNewConstMetric(dropped, prometheus.CounterValue, float64(n), reason)
	}
}

// plugins shows which plugins can be asked.
func (m *metrics) plugins(h *pluginhost.Host) { m.registry.MustRegister(pluginsUp{h}) }

type pluginsUp struct{ host *pluginhost.Host }

func (pluginsUp) desc() *prometheus.Desc {
	return prometheus.NewDesc("keywicket_plugin_up", "1 while a plugin can be asked and nothing is wrong behind it that it knows of.", []string{"plugin"}, nil)
}

// Describe and Collect make it a prometheus.Collector.
func (p pluginsUp) Describe(out chan<- *prometheus.Desc) { out <- p.desc() }

func (p pluginsUp) Collect(out chan<- prometheus.Metric) {
	for _, s := range p.host.Status() {
		up := 0.0
		if s.Up() {
			up = 1
		}
		out <- prometheus.MustNewConstMetric(p.desc(), prometheus.GaugeValue, up, s.Name)
	}
}

// listen serves /metrics, /healthz (the process answers) and /readyz (attempts
// can be decided).
func (m *metrics) listen(address netip.AddrPort, e *core.Engine, degraded func() error, log *slog.Logger, start func(string, func() error)) (at net.Addr, stop func(), err error) {
	network := "tcp6"
	if address.Addr().Is4() {
		network = "tcp4" // with "tcp" 0.0.0.0 would be every address of IPv6 too
	}
	l, err := net.Listen(network, address.String())
	if err != nil {
		hint := "is another program there? choose another address in [metrics] listen"
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			hint = "this host has no such address; mend [metrics] listen"
		}
		return nil, nil, fmt.Errorf("metrics: %w; %s", err, hint)
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "keywicket_sessions", Help: "Sessions that are known from accounting.",
	}, func() float64 { return float64(e.Stats().Sessions) }))
	mux := http.NewServeMux()
	metricsPage := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		m.degraded.Set(0)
		if e.Ready(r.Context()) != nil || degraded() != nil {
			m.degraded.Set(1)
		}
		metricsPage.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if e.Ready(r.Context()) != nil {
			http.Error(w, "not ready; keywicket status says why", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	s := &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	start("metrics", func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return l.Addr(), func() { _ = s.Close() }, nil
}
