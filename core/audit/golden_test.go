package audit

const goldenKeyID = "a2bfbba4"

func goldenLines() []string {
	return []string{
		`{"time":"2026-01-02T03:04:05.678Z","event":"attempt","actor":"root","account":"alain@contoso.com","app_password":{"id":"0a1b","name":"Alain's \"console\""},"service":"radius/vpn1","source":"192.0.2.10","device":"00-11-22-33-44-55","method":"mschapv2","result":"refused","reason":"out-of-scope","detail":"a\\b","seq":1,"mac":"9c5a59e0a9bcd3e0bdb3615660c6f17b3f42a266a422f5d5b181dab76d3c007c"}`,
		`{"time":"2026-01-02T03:04:05.678Z","event":"app-password-deleted","account":"\u00e9\u202e\ud83d\ude00\ufffd\u000a\u2028","seq":2,"mac":"d6b6294cc664f03bf9bb349bcfd66bf9d0f5b89eb524120b894d6b9046e0617c"}`,
	}
}
