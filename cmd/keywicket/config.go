package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at a configuration"}
	cmd.AddCommand(a.configCheck())
	return cmd
}

func (a *app) configCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration, each with file and line",
		Args:  exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := loadWhole(args[0])
			var warnings config.Faults
			if err == nil {
				warnings = f.Warnings()
			}
			if asJSON {
				var faults config.Faults
				if err != nil && !errors.As(err, &faults) {
					return err
				}
				return errors.Join(a.printJSON(map[string]any{"faults": toFaultsJSON(faults), "warnings": toFaultsJSON(warnings)}), err)
			}
			if err != nil {
				return err
			}
			for _, w := range warnings {
				a.printf("warning: %s\n", sanitize(w.Error()))
			}
			a.printf("%s has no faults.\n", line(args[0]))
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// A faultJSON is one thing wrong at one line.
type faultJSON struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Key  string `json:"key,omitempty"`
	Text string `json:"text"`
}

func toFaultsJSON(faults config.Faults) []faultJSON {
	all := []faultJSON{}
	for _, f := range faults {
		all = append(all, faultJSON{f.File, f.Line, f.Key, f.Text})
	}
	return all
}
