package config

import (
	"strings"
	"testing"
)

// What is mistyped or came with a copy is told with its line, what it is and what
// belongs there.
func TestSyntax(t *testing.T) {
	for text, want := range map[string]string{
		"a=1\ndata_dir = “/d”\nb=1\nkeyring = ‘k’ # “fine”\n": "2: “ (U+201C) is a typographic quote; type plain ones|4: ‘ (U+2018) is a typographic quote",
		"data_dir = \"/d”\n":                                  "1: ” (U+201D) is a typographic quote",
		"data_dir = „/d“\n":                                   "1: „ (U+201E)",
		"[policy]\nlimit = –1\n":                              "2: – (U+2013) is a typographic dash; type a plain -",
		"[profile.a–b]\n":                                     "1: – (U+2013) is a typographic dash",
		"data_dir =\u00a0\"/d\"\n":                            "1: column 11 has a character that looks like a space, or like nothing (U+00A0); delete it",
		"data_dir\u200b = \"/d\"\n":                           "1: column 9 has a character that looks like a space, or like nothing (U+200B)",
		"data_dir = \"/dü\"\u00a0\n":                          "1: column 17 has",
		"a=1\n\ufeffdata_dir = \"/d\"\n":                      "2: column 1 has a character that looks like a space, or like nothing (U+FEFF)",
		"data_dir ＝ \"/d\"\n":                                 "1: ＝ (U+FF1D) is a wide character; type a plain =",
		"[group.Büro]\n":                                      "1: column 9 has a character that is taken in quotes alone; put the name or the value with it into quotes",
		"[group.Domain Admins]\n":                             "1: the name of a table has letters, digits, - and _; one with anything else stands in quotes",
		"data_dir \"/d\"\n":                                   "1: there is no = after the key",
		"data_dir: \"/d\"\n":                                  "1: a colon follows the key; write = there",
		"data_dir == \"/d\"\n":                                "1: one = after data_dir is enough",
		"data_dir =\n":                                        "1: there is no value after data_dir =; write it on the same line",
		"data_dir = # soon\n":                                 "1: there is no value after data_dir =",
		"data_dir = /d\n":                                     "1: the value of data_dir is neither a number nor true or false; put it into quotes: data_dir = \"value\"",
		"main_password = never\n":                             "1: the value of main_password is neither",
		"unused_after = 365d\n":                               "1: the value of unused_after is neither",
		"listen = 127.0.0.1:1812\n":                           "1: the value of listen is neither",
		"require_two_step = True\n":                           "1: write require_two_step = true or require_two_step = false, in small letters",
		"require_two_step = yes\n":                            "1: write require_two_step = true",
		"limit = 040\n":                                       "1: the number after limit begins with 0; write it without",
		"services = [sshd]\n":                                 "1: a list is written like [\"one\", \"two\"]",
		"services = [\"a\" \"b\"]\n":                          "1: a list is written like",
		"services = [\"a\"\n[radius]\n":                       "2: a list is written like [\"one\", \"two\"]: here, or above, a comma, a quote or the ] is missing",
		"[pam]\na=1\n[ pam ]\n":                               "3: [pam] stands there twice, first at line 1; put both into one",
		"[a.b]\n[a.c]\n[a.b]\n":                               "3: [a.b] stands there twice, first at line 1",
		"limit=1\n[policy]\n\nlimit = 40\n# limit=2\nlimit=3": "6: limit stands there twice, first at line 4; leave one out",
		"[pam\nservices=[]\n":                                 "1: the ] at the end of the line is missing",
		"secret = \"grün\n":                                   "1: a quote is opened here and not closed on this line",
		"data_dir = \"/d\nkeyring = \"/k\"\n":                 "1: a quote is opened here and not closed on this line",
		"data_dir = \"/d\";\n":                                "1: take off the ; at the end of the line",
		"listen = [\"a\"],\n":                                 "1: take off the , at the end of the line",
		"data_dir = \"/d\" keyring = \"/k\"\n":                "1: something follows the value of data_dir; each key has a line of its own",
		"data_dir = \"C:\\data\"\n":                           "1: a \\ in the text after data_dir begins an escape; write \\\\",
		"reply = { \"Class\" \"x\" }\n":                       "1: a table in one line is written like",
		"// why\n":                                            "1: a comment begins with #",
		"; why\n":                                             "1: a comment begins with #",
		"a=1\n<<<<<<< HEAD\n":                                 "2: a merge was left here undone",
		"```toml\na=1\n":                                      "1: this line is of Markdown",
		"a = 1\rb = 2\r":                                      "1: lines end with a carriage return alone",
		"a=1\nb = \"\xfc\"\n":                                 "2: there is an octet that is not UTF-8",
		"\xff\xfea\x00=\x00":                                  "1: the file is UTF-16; save it as UTF-8",
		"a=1\n\x00b=1\n":                                      "2: ",
		"x = \"\"\"\n“fine”\n\"\"\"\ny = 1 = 2\n":             "4: ",
	} {
		_, err := Parse("x", []byte(text))
		if err == nil {
			t.Errorf("%q is no fault", text)
			continue
		}
		checkFaults(t, err, "x")
		got, wants := strings.Split(err.Error(), "\n"), strings.Split(want, "|")
		for i, each := range got {
			if len(got) != len(wants) || !strings.HasPrefix(each, "x:"+strings.Replace(wants[i], ": ", ": this is not TOML: ", 1)) {
				t.Errorf("%q:\n%v\nwant %q", text, err, want)
				break
			}
		}
	}
}

// A value is never repeated, whatever is wrong with it: it may be a secret.
func TestSyntaxShowsNoSecret(t *testing.T) {
	for _, text := range []string{
		"secret = planted7\n", "secret = “planted7”\n", "secret = \"planted7\n", "secret planted7\n", "secret: planted7\n", "planted7\n", "planted7==\n", "secret = ß7\n", "secret = \"ß7\n", "planted7 = \n",
		"secret = [planted7]\n", "secret = planted7;\n", "secret = \"\\planted7\"\n", "secret = 1e99planted7\n", "x = { secret = planted7 }\n", "[planted7\n", "secret = \"x\" planted7\n",
	} {
		if _, err := Parse("x", []byte(text)); err == nil || strings.Contains(err.Error(), "planted7") || strings.Contains(err.Error(), "ß") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A text that is no configuration at all is not told of line by line.
func TestSyntaxOfAnotherText(t *testing.T) {
	_, err := Parse("x", []byte(strings.Repeat("Schöne Grüße\n", 1000)))
	checkFaults(t, err, "x")
	if n := strings.Count(err.Error(), "\n"); n > maxOdd {
		t.Errorf("%d lines", n)
	}
}

// What is under a [table] and belongs above all of them is told so.
func TestTopKeyInTable(t *testing.T) {
	_, err := Parse("x", []byte("[policy]\nlimit = 40\ndata_dir = '/d'\nkeyring = '/k'\n"))
	if err == nil || !strings.Contains(err.Error(), "x:3: policy.data_dir: this belongs to the top of the file, above every [table]; move it there") {
		t.Error(err)
	}
}

// What is above every [table] and belongs to one is told so, where it is clear which.
func TestKeyOfSectionAtTop(t *testing.T) {
	for text, want := range map[string]string{
		"limit = 40\n":                        "x:1: limit: this belongs to [policy]: write it there, as policy.limit",
		"listen = []\n":                       "x:1: listen: there is no such key; the keys here are", // [radius] or [metrics]
		"[client.a]\naddress=['127.0.0.1']\n": "x:1: client: this belongs to [radius]: write it there, as radius.client",
	} {
		_, err := Parse("x", []byte(text+"[radius]\nlisten=['[::1]:1812']\n[metrics]\nlisten='[::1]:9812'\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A character that looks like a plain one is told by its number.
func TestLookAlikes(t *testing.T) {
	_, err := Parse("x", []byte(smallest+"[profile.p]\nservices = ['radius/vpn–*', 'radius/bü ro']\n"))
	if err == nil || !strings.Contains(err.Error(), `"radius/vpn\u2013*"`) || !strings.Contains(err.Error(), `"radius/bü ro"`) {
		t.Error(err)
	}
}
