package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
)

// defaultOverlap is how long the old secret of a client is taken, unless the
// administrator says otherwise.
const defaultOverlap = "30d"

func (a *app) clientRotate() *cobra.Command {
	var overlap string
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a new shared secret, and print the lines that let both work for a while",
		Long:  "Make a new shared secret for a RADIUS client of the configuration, write it to a\nfile beside the old one, and print the lines for its block: until the day that\nthey name, the client may use either. The configuration itself is not changed.\n\"keywicket status\" tells whether the old one is still in use.",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			span, err := parseSpan(overlap)
			if err != nil {
				return usage(cmd, err)
			}
			f, err := a.loadFile(cmd.Context())
			if err != nil {
				return err
			}
			client, err := namedClient(f, args[0])
			if err != nil {
				return usageError{err}
			}
			now := time.Now()
			if err := rotatable(*client, now); err != nil {
				return err
			}
			dir, err := filepath.Abs(filepath.Dir(client.SecretFile))
			if err != nil {
				return err
			}
			// What is there may be in use: a second one of a day has another name.
			name := filepath.Join(dir, client.Name+"-"+now.Format("20060102"))
			file := name + ".secret"
			show := func() error {
				a.printf("# In [radius.client.%s], instead of its secret_file; then: keywicket reload\n", client.Name)
				a.printf("secret_file      = %q\nold_secret_file  = %q\nold_secret_until = %q\n", file, client.SecretFile, now.Add(span).Format(time.DateOnly))
				return nil
			}
			err = a.writeSecret(cmd, file, show)
			for n := 2; errors.Is(err, fs.ErrExist) && n < 100; n++ {
				file = fmt.Sprintf("%s-%d.secret", name, n)
				err = a.writeSecret(cmd, file, show)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "The new secret for the device is in %s.\n", file)
			return nil
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", defaultOverlap, "how long the old secret works on, as a `duration`; to the end of that day")
	return cmd
}

// rotatable says why the secret of c cannot be changed now.
func rotatable(c config.Client, now time.Time) error {
	switch {
	case c.SecretFile == "":
		return fmt.Errorf("the secret of %s stands in the configuration; move it to a file and name that with secret_file first", c.Name)
	case now.Before(c.OldSecretUntil):
		return fmt.Errorf("the secret of %s is being changed already, until %s; when the device has the new one, take old_secret_file and old_secret_until out first", c.Name, shownTime(c.OldSecretUntil))
	}
	return nil
}

// oldSecrets tells how far each change of a shared secret has come.
func (d *daemon) oldSecrets(f *config.File, now time.Time) (warnings []string) {
	if f.Radius == nil || d.radius == nil {
		return nil
	}
	for _, c := range f.Radius.Clients {
		if !c.OldSecretUntil.IsZero() && !now.Before(c.OldSecretUntil) {
			warnings = append(warnings, f.Fault("the old secret is not taken any more; take its lines out, and remove its file", "radius", "client", c.Name, "old_secret_until").Error())
		}
	}
	for _, o := range d.radius.OldSecrets() {
		used := "nothing has come with it yet; once the device has the new one, take its lines out"
		if o.Packets > 0 {
			used = fmt.Sprintf("it is still in use: %d packet(s), the last %s from %s; give that device the new one", o.Packets, ago(o.Used, now), o.Source)
		}
		warnings = append(warnings, fmt.Sprintf("the old secret of the client %s is taken until %s; %s", o.Client, shownTime(o.Until), used))
	}
	return warnings
}
