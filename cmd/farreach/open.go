package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type openDoc struct {
	Schema  string    `json:"schema"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

func (a *app) openCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:   "open",
		Short: "Make a link to the dashboard that signs a browser in",
		Long: `Makes a link to the dashboard. The browser that opens it is signed in to your
account; the link is good once, and for ten minutes.`,
		Example: `  farreach open
  xdg-open "$(farreach open | cut -f1)"`,
		GroupID: groupStart,
		Args:    takes(),
	}, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		server, err := a.server()
		if err != nil {
			return err
		}
		link, err := api.NewSignInLink(ctx)
		if err != nil {
			return err
		}
		doc := openDoc{"farreach.open/v1", signInURL(server.API(), link.Link.Reveal()), link.Expires.UTC()}
		if a.json {
			return a.screen().Doc(doc)
		}
		return a.screen().Line(doc.URL, doc.Expires.Format(time.RFC3339))
	})
}

// signInURL is the address of the dashboard at base, with what signs a browser
// in behind the #, which browsers send to no server.
func signInURL(base, link string) string { return base + "/#k=" + link }
