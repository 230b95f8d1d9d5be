package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) radiusDebug() *cobra.Command {
	var r controlv1.WatchRadiusRequest
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Show RADIUS packets as they come, each with what was decided and why",
		Long: `Show the RADIUS packets that the daemon gets from now on, decoded, each with what
was decided and why, until it is interrupted. Of passwords, responses, challenges
and whatever else may be a secret only the length is shown. It does not hold the
daemon up: where more comes than can be shown, it says how many are left out.`,
		Args: exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				err := a.watchRadius(ctx, d, &r, asJSON)
				if ctx.Err() != nil { // interrupted, which is how it ends
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&r.Client, "client", "", "only what comes from the client of this `name`")
	cmd.Flags().StringVar(&r.User, "user", "", "only what has this User-Name, or means this `account`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	return cmd
}

func (a *app) watchRadius(ctx context.Context, d daemonClient, r *controlv1.WatchRadiusRequest, asJSON bool) error {
	stream, err := d.daemon.WatchRadius(ctx, r)
	if err != nil {
		return err
	}
	begun, err := stream.Header()
	if err != nil {
		return err
	}
	if begun != nil && !asJSON { // else it ended at once, and Recv says why
		a.printf("Waiting for packets. Ctrl-C ends it.\n")
	}
	lines := json.NewEncoder(a.out)
	lines.SetEscapeHTML(false)
	for {
		p, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), status.Code(err) == codes.Unavailable:
			return unavailableError{errors.New("the daemon has stopped")}
		case err != nil:
			return err
		case asJSON:
			err = lines.Encode(toPacketJSON(p))
		default:
			err = a.showPacket(p)
		}
		if err != nil {
			return err
		}
	}
}

// showPacket prints a packet for people.
func (a *app) showPacket(p *controlv1.RadiusPacket) error {
	if p.Missed > 0 {
		a.printf("\n(%d packets came that there was no time to show)\n", p.Missed)
	}
	client := "no client"
	if p.Client != "" {
		client = "client " + p.Client
	}
	a.printf("\n%s  %s from %s (%s), identifier %d\n", p.Time.AsTime().Local().Format("15:04:05.000"), line(p.Code), p.Source, line(client), p.Identifier)
	for _, attribute := range p.Attributes {
		a.printf("    %s = %s\n", line(attribute.Name), line(attribute.Value))
	}
	a.printf("  %s", line(p.Result))
	if p.WaitMilliseconds > 0 {
		a.printf(", in %s", time.Duration(p.WaitMilliseconds)*time.Millisecond)
	}
	if p.Sentence != "" {
		a.printf(": %s", line(p.Sentence))
	}
	a.printf("\n")
	for _, attribute := range p.Reply {
		a.printf("    %s = %s\n", line(attribute.Name), line(attribute.Value))
	}
	return nil
}

type (
	nameValueJSON struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	packetJSON struct {
		Time        time.Time       `json:"time"`
		Source      string          `json:"source"`
		Client      string          `json:"client"`
		Code        string          `json:"code"`
		Identifier  uint32          `json:"identifier"`
		Attributes  []nameValueJSON `json:"attributes"`
		Result      string          `json:"result"`
		Wait        int64           `json:"wait_milliseconds"`
		Reply       []nameValueJSON `json:"reply"`
		Reason      string          `json:"reason"`
		Sentence    string          `json:"sentence"`
		AppPassword *refJSON        `json:"app_password"`
		Missed      uint64          `json:"missed"`
	}
)

func toPacketJSON(p *controlv1.RadiusPacket) packetJSON {
	return packetJSON{
		Time: p.Time.AsTime(), Source: p.Source, Client: p.Client, Code: p.Code, Identifier: p.Identifier, Attributes: toNameValues(p.Attributes),
		Result: p.Result, Wait: p.WaitMilliseconds, Reply: toNameValues(p.Reply), Reason: p.Reason, Sentence: p.Sentence,
		AppPassword: toRefJSON(p.AppPassword), Missed: p.Missed,
	}
}

func toNameValues(from []*controlv1.RadiusAttribute) []nameValueJSON {
	all := []nameValueJSON{}
	for _, a := range from {
		all = append(all, nameValueJSON{a.Name, a.Value})
	}
	return all
}

// WatchRadius lets somebody look at packets.
func (d *daemon) WatchRadius(r *controlv1.WatchRadiusRequest) (next func(context.Context) (*controlv1.RadiusPacket, error), stop func(), err error) {
	fail := func(kind core.Kind, text string) error {
		return &core.Error{Op: "radius debug", Kind: kind, Err: errors.New(text)}
	}
	if d.radius == nil {
		return nil, nil, fail(core.KindInvalid, "the configuration has no [radius] section, so that no packet comes")
	}
	d.mu.Lock()
	f := d.file
	d.mu.Unlock()
	if r.Client != "" {
		if _, err := namedClient(f, r.Client); err != nil {
			return nil, nil, fail(core.KindNotFound, err.Error())
		}
	}
	w, err := d.radius.Watch(radius.Filter{Client: r.Client, User: r.User})
	if err != nil {
		return nil, nil, fail(core.KindLimited, err.Error())
	}
	next = func(ctx context.Context) (*controlv1.RadiusPacket, error) {
		told, err := w.Next(ctx)
		if err != nil {
			return nil, fail(core.KindUnavailable, err.Error())
		}
		return fromSighting(told), nil
	}
	return next, w.Close, nil
}

func fromSighting(s radius.Sighting) *controlv1.RadiusPacket {
	p := &controlv1.RadiusPacket{
		Time: timestamppb.New(s.Time), Source: s.Source.String(), Client: s.Client, Code: s.Code, Identifier: uint32(s.ID),
		Attributes: fromShown(s.Attributes), Result: s.Result, WaitMilliseconds: s.Wait.Milliseconds(), Reply: fromShown(s.Reply),
		Reason: string(s.Reason), Sentence: s.Why, Missed: s.Missed,
	}
	if s.AppPassword.ID != "" {
		p.AppPassword = &controlv1.AppPasswordRef{Id: s.AppPassword.ID, Name: s.AppPassword.Name}
	}
	return p
}

func fromShown(pairs [][2]string) (all []*controlv1.RadiusAttribute) {
	for _, pair := range pairs {
		all = append(all, &controlv1.RadiusAttribute{Name: pair[0], Value: pair[1]})
	}
	return all
}
