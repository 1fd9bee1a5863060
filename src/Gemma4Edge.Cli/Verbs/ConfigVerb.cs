using System.CommandLine;
using System.Text.Json;
using Gemma4Edge.Service;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>config check</c>: what <c>serve</c> would run with, and where each value came from.</summary>
internal static class ConfigVerb
{
    public static Command Create(Terminal terminal) =>
        new Verb("config", "Looks at the service's configuration", "gemma4edge config check") { CreateCheck(terminal) };

    private static Verb CreateCheck(Terminal terminal)
    {
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "check",
            "Checks the configuration as serve would, and prints each value and where it came from",
            "gemma4edge config check",
            "gemma4edge config check --config /etc/gemma4edge/conf.d --json",
            "GEMMA4EDGE__Mqtt__Node=kitchen gemma4edge config check --model deploy/demo-model")
        {
            json,
        };
        verb.Notes = "Files that are named are looked at too, of the model its header; a journal in the state directory is read and left as it is. Exit 0: serve would start with it; else the sentence that serve would end with, and its exit code.";
        var flags = new ServiceFlags(verb);
        verb.SetAction(parsed =>
        {
            ServiceOptions options = ServiceOptions.Read(flags.Load(parsed));
            ServiceHost.Check(options);
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer => WriteJson(writer, options.Values));
            }
            else
            {
                WriteLines(terminal, options.Values);
            }
        });
        return verb;
    }

    private static void WriteJson(Utf8JsonWriter json, IReadOnlyList<OptionValue> values)
    {
        json.WriteStartArray("values");
        foreach (OptionValue value in values)
        {
            json.WriteStartObject();
            json.WriteString("key", value.Key);
            if (value.Json is { } text)
            {
                json.WritePropertyName("value");
                json.WriteRawValue(text);
            }

            json.WriteString("source", value.Source);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteLines(Terminal terminal, IReadOnlyList<OptionValue> values)
    {
        int width = values.Max(value => value.Key.Length);
        foreach (OptionValue value in values)
        {
            string source = value.Source == "default" ? terminal.Dim(value.Source) : terminal.Accent(value.Source);
            terminal.Out.WriteLine($"{value.Key.PadRight(width)}  {value.Json ?? "-"}  ({source})");
        }
    }
}
