package main

import (
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at a configuration"}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration, each with file and line",
		Args:  exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := loadWhole(args[0])
			if err != nil {
				return err
			}
			for _, w := range f.Warnings() {
				a.printf("warning: %s\n", sanitize(w.Error()))
			}
			a.printf("%s has no faults.\n", line(args[0]))
			return nil
		},
	})
	return cmd
}
