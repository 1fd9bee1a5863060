using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>What is wrong with JSON text and where, for people: the parser counts lines from 0 and speaks of its own settings.</summary>
public static class JsonFault
{
    /// <summary>A sentence such as <c>line 3, byte 18: 'o' is an invalid start of a value.</c>, both counted from 1.</summary>
    /// <param name="e">What reading the text threw.</param>
    /// <param name="firstLine">The line of the file that the text begins in.</param>
    public static string Of(Exception e, long firstLine = 1) => e switch
    {
        JsonException when e.Message.Contains("does not contain any JSON tokens", StringComparison.Ordinal) => "it is empty.",
        JsonException { LineNumber: { } line, BytePositionInLine: { } column } => $"line {firstLine + line}, byte {column + 1}: {WithoutPosition(e.Message)}",
        InvalidOperationException => "a string in it is not valid Unicode.",
        _ => e.Message,
    };

    private static string WithoutPosition(string message) => message.IndexOf(" LineNumber: ", StringComparison.Ordinal) is >= 0 and int at ? message[..at] : message;
}
