package main

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

// eventsExport is what the command events export was asked for.
type eventsExport struct {
	eventSelection
	format string
	quiet  bool
}

func (a *app) eventsExportCmd() *cobra.Command {
	var x eventsExport
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all events of a stretch of time, oldest first",
		Long: `Writes all events of a stretch of time to the standard output, oldest first, one on
each line: as a JSON document, or as comma separated values under a head. However
many there are, they pass through. How far it is is told on standard error.`,
		Example: `  farreach events export --since 7d > week.ndjson
  farreach events export --format csv --device meter --since 2026-01-01 > meter.csv`,
		Args: takes(),
	}
	x.flags(a, cmd)
	cmd.Flags().StringVar(&x.format, "format", "ndjson", "ndjson or csv")
	cmd.Flags().BoolVarP(&x.quiet, "quiet", "q", false, "do not tell how far it is")
	completes(cmd, "format", "ndjson", "csv")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, _ []string) error { return a.eventsExport(ctx, api, x) })
}

func (a *app) eventsExport(ctx context.Context, api *apiclient.Client, x eventsExport) error {
	if x.format != "ndjson" && x.format != "csv" {
		return misuse("--format csv, or --format ndjson", "--format: %q is neither", x.format)
	}
	if err := x.times(time.Now()); err != nil {
		return err
	}
	if _, err := x.resolve(ctx, api); err != nil {
		return err
	}
	out := &counting{Writer: a.out, next: time.Now().Add(tellEvery)}
	if !x.quiet {
		out.tell = a.say
	}
	err := api.Export(ctx, x.filter, x.format, out)
	if x.format == "csv" && out.lines > 0 {
		out.lines-- // the head
	}
	if err != nil {
		return fail(codeOf(err), "farreach events export --since TIME, from where it broke off", "broken off after %d events: %w", out.lines, err)
	}
	if !x.quiet {
		a.say("farreach: events export: %d events, %d bytes", out.lines, out.bytes)
	}
	return nil
}

// tellEvery is the time between two lines about how far it is.
const tellEvery = 2 * time.Second

// counting counts what passes, and tells of it from time to time.
type counting struct {
	io.Writer
	tell         func(format string, args ...any) // nil: nobody
	next         time.Time
	lines, bytes int
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.bytes += n
	c.lines += bytes.Count(b[:n], []byte("\n"))
	if c.tell != nil && !time.Now().Before(c.next) {
		c.tell("farreach: events export: %d events, %d bytes so far", c.lines, c.bytes)
		c.next = time.Now().Add(tellEvery)
	}
	return n, err
}
