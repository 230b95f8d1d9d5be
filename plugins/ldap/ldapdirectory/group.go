package ldapdirectory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// Bounds of what one account's groups may be. Beyond them there is no answer:
// with some groups left out, one that denies could be among them.
const (
	maxDepth  = 16   // groups within groups
	maxGroups = 2000 // of one account
	groupPage = 100  // entries that the server sends at a time
	groupsAt  = 50   // groups whose own groups are asked for at a time
)

// groups returns the names of the groups that dn is in, and of those that these
// are in, and so on. Active Directory could do this in one search with a
// matching rule of its own, which it is slow at; this works with all.
func (d *Directory) groups(conn *ldap.Conn, dn string) ([]string, error) {
	names, seen := make(map[string]bool), map[string]bool{fold(dn): true}
	members := []string{dn}
	for depth := 0; len(members) > 0; depth++ {
		if depth == maxDepth {
			return nil, fmt.Errorf("%q is in groups within groups more than %d deep", dn, maxDepth)
		}
		var found []string
		for part := range slices.Chunk(members, groupsAt) {
			entries, err := d.groupsOf(conn, part)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if seen[fold(e.DN)] {
					continue
				}
				seen[fold(e.DN)] = true
				found = append(found, e.DN)
				for _, name := range values(e, d.cfg.GroupNameAttribute) {
					if !utf8.ValidString(name) {
						return nil, fmt.Errorf("group %q has a name that is no text", e.DN)
					}
					names[name] = true
				}
			}
		}
		if len(names) > maxGroups || len(seen) > maxGroups {
			return nil, fmt.Errorf("%q is in more than %d groups", dn, maxGroups)
		}
		members = found
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// groupsOf returns the groups of which any of these DNs is a member.
func (d *Directory) groupsOf(conn *ldap.Conn, dns []string) ([]*ldap.Entry, error) {
	var any strings.Builder
	for _, dn := range dns {
		any.WriteString("(" + d.cfg.MemberAttribute + "=" + ldap.EscapeFilter(dn) + ")")
	}
	result, err := conn.SearchWithPaging(&ldap.SearchRequest{
		BaseDN: d.cfg.GroupBaseDN, Scope: ldap.ScopeWholeSubtree, DerefAliases: ldap.NeverDerefAliases, TimeLimit: seconds(d.cfg.Timeout),
		Filter: "(&" + d.cfg.GroupFilter + "(|" + any.String() + "))", Attributes: []string{d.cfg.GroupNameAttribute},
	}, groupPage)
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	if result == nil {
		return nil, errors.New("groups: no answer")
	}
	return result.Entries, nil
}

// fold is good enough to find a group again; one that is not is looked at twice.
func fold(dn string) string { return strings.ToLower(dn) }
