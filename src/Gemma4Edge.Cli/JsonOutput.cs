using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Gemma4Edge.Cli;

/// <summary>One line of JSON on a verb's output. Text stays readable: only what JSON itself demands is escaped.</summary>
internal static class JsonOutput
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes an object whose members <paramref name="members"/> writes.</summary>
    public static void WriteObject(TextWriter output, Action<Utf8JsonWriter> members) =>
        Write(output, json =>
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        });

    /// <summary>Writes whatever value <paramref name="value"/> writes.</summary>
    public static void Write(TextWriter output, Action<Utf8JsonWriter> value)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, s_options))
        {
            value(json);
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length));
    }
}
