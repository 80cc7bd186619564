package tracing

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// defaultEndpoint is where a collector listens that nobody has moved.
const defaultEndpoint = "http://localhost:4318/v1/traces"

// wanted tells whether the environment asks for traces.
func wanted() (bool, error) {
	switch disabled := variable("OTEL_SDK_DISABLED"); strings.ToLower(disabled) {
	case "", "false":
	case "true":
		return false, nil
	default:
		return false, wrong("OTEL_SDK_DISABLED", "true or false")
	}
	switch variable("OTEL_TRACES_EXPORTER") {
	case "none":
		return false, nil
	case "otlp":
		return true, nil
	case "":
		_, endpoint := first("ENDPOINT")
		return endpoint != "", nil
	}
	return false, wrong("OTEL_TRACES_EXPORTER", "otlp or none")
}

// first returns the variable of the exporter that counts for traces: the one
// that is about traces alone, if it is set.
func first(suffix string) (name, value string) {
	for _, name := range both(suffix) {
		if value := variable(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

func both(suffix string) []string {
	return []string{"OTEL_EXPORTER_OTLP_TRACES_" + suffix, "OTEL_EXPORTER_OTLP_" + suffix}
}

// variable is the value of an environment variable. One that is empty is not
// set, says the specification.
func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// wrong is the error for a variable that should be something else. What it is
// now is left out: headers and URLs hold secrets.
func wrong(name, want string) error {
	return fmt.Errorf("environment variable %s: it can be %s, and is something else", name, want)
}

// checks say what variables can be, those that the library reads included: it
// would pass over what is wrong in silence.
var checks = []struct {
	names []string
	want  string
	right func(string) bool
}{
	{both("PROTOCOL"), "http/protobuf", func(v string) bool { return v == "http/protobuf" }},
	{both("ENDPOINT"), "a URL such as http://collector:4318", isURL},
	{both("COMPRESSION"), "gzip or none", func(v string) bool { return v == "gzip" || v == "none" }},
	{both("TIMEOUT"), milliseconds, isTime},
	{both("HEADERS"), "a list such as name=value,other=value", isHeaders},
	{both("CERTIFICATE"), "a file that can be read", isFile},
	{both("CLIENT_CERTIFICATE"), "a file that can be read", isFile},
	{both("CLIENT_KEY"), "a file that can be read", isFile},
	{[]string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"}, milliseconds, isTime},
	{[]string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}, "a number from 1 to 1000000", isCount},
	{[]string{"OTEL_RESOURCE_ATTRIBUTES"}, "a list such as name=value,other=value", isPairs},
}

const milliseconds = "a number of milliseconds, at least 1 and at most a day"

// checkVariables returns what is wrong with the variables of checks.
func checkVariables() error {
	var errs []error
	for _, c := range checks {
		for _, name := range c.names {
			if value := variable(name); value != "" && !c.right(value) {
				errs = append(errs, wrong(name, c.want))
			}
		}
	}
	return errors.Join(errs...)
}

func isURL(v string) bool {
	u, err := url.Parse(v)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func isTime(v string) bool {
	n, err := strconv.Atoi(v)
	return err == nil && 0 < n && n <= int(24*time.Hour/time.Millisecond)
}

// isCount has a bound because memory for so many is taken at once.
func isCount(v string) bool {
	n, err := strconv.Atoi(v)
	return err == nil && 0 < n && n <= 1_000_000
}

// isHeaders refuses what HTTP does not send.
func isHeaders(v string) bool {
	for name, values := range headersOf(v) {
		if strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }) || strings.ContainsFunc(values[0], unicode.IsControl) {
			return false
		}
	}
	return isPairs(v)
}

func isToken(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func isPairs(v string) bool {
	for pair := range strings.SplitSeq(v, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(value); !ok || err != nil || strings.TrimSpace(name) == "" {
			return false
		}
	}
	return true
}

func isFile(v string) bool {
	_, err := os.ReadFile(v)
	return err == nil
}

// chooseSampler returns the sampler of OTEL_TRACES_SAMPLER.
func chooseSampler() (sdk.Sampler, error) {
	const name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	ratio := 1.0
	if value := variable(argument); value != "" {
		var err error
		if ratio, err = strconv.ParseFloat(value, 64); err != nil || !(0 <= ratio && ratio <= 1) {
			return nil, wrong(argument, "a part of all traces, from 0 to 1")
		}
	}
	switch variable(name) {
	case "always_on":
		return sdk.AlwaysSample(), nil
	case "always_off":
		return sdk.NeverSample(), nil
	case "traceidratio":
		return sdk.TraceIDRatioBased(ratio), nil
	case "", "parentbased_always_on":
		return sdk.ParentBased(sdk.AlwaysSample()), nil
	case "parentbased_always_off":
		return sdk.ParentBased(sdk.NeverSample()), nil
	case "parentbased_traceidratio":
		return sdk.ParentBased(sdk.TraceIDRatioBased(ratio)), nil
	}
	return nil, wrong(name, "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio")
}

// choosePropagators returns those of OTEL_PROPAGATORS.
func choosePropagators() (propagation.TextMapPropagator, error) {
	const name = "OTEL_PROPAGATORS"
	value := variable(name)
	if value == "" {
		value = "tracecontext,baggage"
	}
	var all []propagation.TextMapPropagator
	for word := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(word) {
		case "tracecontext":
			all = append(all, propagation.TraceContext{})
		case "baggage":
			all = append(all, propagation.Baggage{})
		case "none":
		default:
			return nil, wrong(name, "none, or a list of tracecontext and baggage")
		}
	}
	return propagation.NewCompositeTextMapPropagator(all...), nil
}
