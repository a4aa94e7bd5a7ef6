package main

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

// eventsStats is what the command events stats was asked for.
type eventsStats struct {
	eventSelection
	property string
	buckets  int
}

func (a *app) eventsStatsCmd() *cobra.Command {
	var s eventsStats
	cmd := &cobra.Command{
		Use:   "stats --device DEVICE --href HREF",
		Short: "Sum up a property of a resource: least, greatest, mean and last value",
		Long: `Sums up a property of a resource, a number or true (1) and false (0), in parts of
equal width of a stretch of time: how many values, the least, the greatest, their
mean and the last. Parts of which nothing was heard are left out.`,
		Example: `  farreach events stats --device thermostat --href /a/temperature --since 7d --buckets 28
  farreach events stats --device meter --href /a/power --property power --json`,
		Args: takes(),
	}
	s.flags(a, cmd)
	cmd.Flags().StringVar(&s.property, "property", "", "of the representation (default the only one that is a number or a truth, or value)")
	cmd.Flags().IntVar(&s.buckets, "buckets", 24, "into how many `parts` the time is cut, 2000 at most")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, _ []string) error { return a.eventsStats(ctx, api, s) })
}

func (a *app) eventsStats(ctx context.Context, api *apiclient.Client, s eventsStats) error {
	if s.device == "" || s.filter.Href == "" {
		return misuse("farreach events stats --device lamp --href /a/light", "--device and --href are needed")
	}
	if s.buckets < 1 || s.buckets > 2000 {
		return misuse("--buckets 24", "--buckets: from 1 to 2000 can be had")
	}
	if err := s.times(time.Now()); err != nil {
		return err
	}
	if _, err := s.resolve(ctx, api); err != nil {
		return err
	}
	if s.property == "" {
		var err error
		if s.property, err = guessProperty(ctx, api, s.filter); err != nil {
			return err
		}
	}
	series, err := api.Series(ctx, s.filter, s.property, s.buckets)
	if err != nil {
		return err
	}
	if a.json {
		return a.screen().Doc(series)
	}
	if len(series.Buckets) == 0 {
		a.say("farreach: events stats: no %s of %s%s in that time", s.property, s.device, s.filter.Href)
	}
	rows := make([][]any, len(series.Buckets))
	for i, b := range series.Buckets {
		rows[i] = []any{b.Start, b.Count, shortNumber(b.Min), shortNumber(b.Mean), shortNumber(b.Max), shortNumber(b.Last)}
	}
	return a.screen().Table([]string{"from", "values", "min", "mean", "max", "last"}, rows)
}

// shortNumber is a number with as many digits as tell something.
func shortNumber(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// guessProperty finds the property that is meant in the newest event.
func guessProperty(ctx context.Context, api *apiclient.Client, f apiclient.Filter) (string, error) {
	newest, err := api.Events(ctx, apiclient.Filter{Device: f.Device, Href: f.Href, Limit: 1})
	if err != nil {
		return "", err
	}
	if len(newest) == 0 {
		return "", fail(exitNotFound, "farreach events --limit 5", "nothing was heard of this resource")
	}
	var rep map[string]any
	_ = json.Unmarshal(newest[0].Rep, &rep) // what is no object has no properties
	var found []string
	for name, value := range rep {
		switch value.(type) {
		case float64, bool:
			found = append(found, name)
		}
	}
	slices.Sort(found)
	switch {
	case len(found) == 1:
		return found[0], nil
	case slices.Contains(found, "value"):
		return "value", nil
	case len(found) == 0:
		return "", fail(exitNotFound, "farreach events --limit 5", "no property of this resource is a number or a truth")
	}
	return "", misuse("--property "+found[0], "it has %s: say which", strings.Join(found, ", "))
}
