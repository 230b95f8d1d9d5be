package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/keywicket/keywicket/plugins/sdk"
)

// patience is how long the mail server may be silent: nobody waits longer.
const patience = 2 * time.Second

func main() { sdk.ServeNotifier(&mailer{}) }

// A mailer is the notifier, as its settings say.
type mailer struct {
	Host         string `json:"host"`
	Port         int    `json:"port"`
	TLS          string `json:"tls"`
	Username     string `json:"username"`
	PasswordFile string `json:"password_file"`
	From         string `json:"from"`
	Attribute    string `json:"attribute"`

	client *mail.Client
}

// Configure takes the settings.
func (m *mailer) Configure(_ context.Context, s sdk.Settings) error {
	m.Port, m.TLS, m.Attribute = 587, "starttls", "mail"
	if err := s.Decode(m); err != nil {
		return err
	}
	if err := mail.NewMsg().From(m.From); err != nil {
		return fmt.Errorf("from: %q is no address", m.From)
	}
	options := []mail.Option{mail.WithPort(m.Port), mail.WithTimeout(patience)}
	switch m.TLS {
	case "starttls":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "tls":
		options = append(options, mail.WithSSL())
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		return fmt.Errorf("tls: %q is not known; take \"starttls\", \"tls\" or \"none\"", m.TLS)
	}
	if (m.Username == "") != (m.PasswordFile == "") {
		return errors.New("username and password_file belong together; set both or none")
	}
	if m.Username != "" {
		password, err := sdk.ReadSecret("password_file", m.PasswordFile)
		if err != nil {
			return err
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.Username), mail.WithPassword(password))
	}
	var err error
	m.client, err = mail.NewClient(m.Host, options...)
	return err
}

// Notify implements sdk.Notifier.
func (m *mailer) Notify(ctx context.Context, n sdk.Notice) error {
	address := n.Attributes[m.Attribute]
	if address == "" {
		return nil
	}
	msg := mail.NewMsg()
	if err := msg.From(m.From); err != nil {
		return err
	}
	if err := msg.To(address); err != nil {
		return nil // the directory has something else there; it will not get better
	}
	msg.SetMessageIDWithValue(n.ID + "@keywicket") // the same mail where it comes twice
	msg.SetDateWithValue(n.Time)
	msg.Subject(subject(n.Kind))
	text := n.Text + "\n\n"
	for _, line := range [][2]string{{"Code", n.Code}, {"Account", n.Account}, {"App password", n.AppPassword.Name}, {"Where", n.Service}, {"From", n.Source},
		{"Device", n.Device}, {"By", n.Actor}, {"When", n.Time.Format("2006-01-02 15:04 MST")}} {
		if line[1] != "" {
			text += fmt.Sprintf("%s: %s\n", line[0], line[1])
		}
	}
	msg.SetBodyString(mail.TypeTextPlain, text+"\nIf that was not you, tell your administrator.\n")
	return m.client.DialAndSendWithContext(ctx, msg)
}

// subject says what a notice is about. What it does not know has its text.
func subject(k sdk.NoticeKind) string {
	subjects := map[sdk.NoticeKind]string{
		sdk.NoticeCreated: "A new app password", sdk.NoticeDeleted: "An app password was deleted",
		sdk.NoticeFirstUse: "An app password was used for the first time", sdk.NoticeTwoStepOn: "Two-step verification is on",
		sdk.NoticeTwoStepOff: "Two-step verification is off", sdk.NoticeCode: "Your code",
	}
	return cmp.Or(subjects[k], "About your account")
}
