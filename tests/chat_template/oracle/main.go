// The judge of the Go template interpreter: runs cases over the standard library's text/template.
//
// One JSON case a line on stdin, one JSON verdict a line on stdout. The types below repeat the shape of Ollama 0.9.3's API
// (their names, fields, tags and String methods), because templates see those types, not JSON.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/template"
)

type ImageData []byte

type Message struct {
	Role      string      `json:"role"`
	Content   string      `json:"content"`
	Thinking  string      `json:"thinking,omitempty"`
	Images    []ImageData `json:"images,omitempty"`
	ToolCalls []ToolCall  `json:"tool_calls,omitempty"`
}

type ToolCall struct {
	Function ToolCallFunction `json:"function"`
}

type ToolCallFunction struct {
	Index     int                       `json:"index,omitempty"`
	Name      string                    `json:"name"`
	Arguments ToolCallFunctionArguments `json:"arguments"`
}

type ToolCallFunctionArguments map[string]any

func (t *ToolCallFunctionArguments) String() string { return marshal(t) }

type Tools []Tool

func (t Tools) String() string { return marshal(t) }

type Tool struct {
	Type     string       `json:"type"`
	Items    any          `json:"items,omitempty"`
	Function ToolFunction `json:"function"`
}

func (t Tool) String() string { return marshal(t) }

type PropertyType []string

func (pt *PropertyType) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err == nil {
		*pt = []string{s}
		return nil
	}
	var a []string
	if err := json.Unmarshal(data, &a); err != nil {
		return err
	}
	*pt = a
	return nil
}

func (pt PropertyType) MarshalJSON() ([]byte, error) {
	if len(pt) == 1 {
		return json.Marshal(pt[0])
	}
	return json.Marshal([]string(pt))
}

func (pt PropertyType) String() string {
	if len(pt) == 0 {
		return ""
	}
	if len(pt) == 1 {
		return pt[0]
	}
	return fmt.Sprintf("%v", []string(pt))
}

type ToolFunction struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Parameters  struct {
		Type       string   `json:"type"`
		Defs       any      `json:"$defs,omitempty"`
		Items      any      `json:"items,omitempty"`
		Required   []string `json:"required"`
		Properties map[string]struct {
			Type        PropertyType `json:"type"`
			Items       any          `json:"items,omitempty"`
			Description string       `json:"description"`
			Enum        []any        `json:"enum,omitempty"`
		} `json:"properties"`
	} `json:"parameters"`
}

func (t *ToolFunction) String() string { return marshal(t) }

func marshal(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// Chats is a table of conversations for all the cases after it; Every asks for one verdict on each of them.
type Case struct {
	Template string         `json:"template"`
	Data     map[string]any `json:"data"`
	Ints     map[string]int `json:"ints"`
	Messages []*Message     `json:"messages"`
	Tools    Tools          `json:"tools"`
	Typed    bool           `json:"typed"`
	Chats    [][]*Message   `json:"chats"`
	Every    bool           `json:"every"`
}

// Digests holds, for each conversation of the table, what identifies the output, or "error".
type Verdict struct {
	Output  []byte   `json:"output"`
	Parse   string   `json:"parse,omitempty"`
	Run     string   `json:"run,omitempty"`
	Digests []string `json:"digests,omitempty"`
}

var chats [][]*Message

// Capacities beyond the length would let `slice` reach past the end, which depends on how a slice grew.
func clip(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = clip(v[i])
		}
		return slices.Clip(v)
	case map[string]any:
		for k := range v {
			v[k] = clip(v[k])
		}
	}
	return v
}

func every(tmpl *template.Template) (digests []string) {
	for _, messages := range chats {
		var systems []string
		for _, one := range messages {
			if one.Role == "system" {
				systems = append(systems, one.Content)
			}
		}
		data := map[string]any{
			"System": strings.Join(systems, "\n\n"), "Messages": slices.Clip(messages), "Tools": Tools(nil),
			"Response": "", "Think": false, "IsThinkSet": false,
		}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, data); err != nil {
			digests = append(digests, "error")
			continue
		}
		sum := sha256.Sum256(b.Bytes())
		digests = append(digests, hex.EncodeToString(sum[:16]))
	}
	return
}

func judge(c Case) (v Verdict) {
	if c.Chats != nil {
		chats = c.Chats
		return
	}
	tmpl, err := template.New("").Option("missingkey=zero").Funcs(template.FuncMap{"json": marshal}).Parse(c.Template)
	if err != nil {
		v.Parse = err.Error()
		return
	}
	if c.Every {
		v.Digests = every(tmpl)
		return
	}
	data := map[string]any{}
	for k, x := range c.Data {
		data[k] = clip(x)
	}
	for k, x := range c.Ints {
		data[k] = x
	}
	if c.Typed {
		data["Messages"] = slices.Clip(c.Messages)
		data["Tools"] = slices.Clip(c.Tools)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, data); err != nil {
		v.Run = err.Error()
	}
	v.Output = b.Bytes()
	return
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	decoder := json.NewDecoder(in)
	for decoder.More() {
		var c Case
		if err := decoder.Decode(&c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		b, _ := json.Marshal(judge(c))
		out.Write(b)
		out.WriteByte('\n')
	}
	out.Flush()
}
