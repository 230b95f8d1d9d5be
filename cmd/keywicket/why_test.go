package main_test

import "time"

// An attempt is an element of what "why --json" prints.
type attempt struct {
	Time        time.Time
	Service     string
	Source      string
	Device      string
	Method      string
	Result      string
	Reason      string
	Sentence    string
	AppPassword *issued `json:"app_password"`
}

// why returns the last attempts of an account, the newest first.
func (s *site) why(account string) []attempt {
	s.t.Helper()
	var all []attempt
	s.decode(&all, "", "why", account)
	if len(all) == 0 {
		s.t.Fatalf("no attempt of %s is known", account)
	}
	return all
}
