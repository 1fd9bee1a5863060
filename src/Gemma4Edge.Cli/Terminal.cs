using System.Text;
using Gemma4Edge.Model.Text;
using Microsoft.Win32.SafeHandles;

namespace Gemma4Edge.Cli;

/// <summary>Where a verb reads and writes: data goes to <see cref="Out"/>, everything else to <see cref="Error"/>.</summary>
/// <remarks>Tests make one over strings; the flags are then false, as they are in a pipe.</remarks>
internal sealed class Terminal(TextReader input, TextWriter output, TextWriter error, CancellationToken interrupted)
{
    private static readonly UTF8Encoding s_utf8 = new(encoderShouldEmitUTF8Identifier: false); // whatever the locale says

    public TextWriter Out { get; } = output;

    public TextWriter Error { get; } = error;

    /// <summary>Fires at Ctrl-C and SIGTERM.</summary>
    public CancellationToken Interrupted { get; } = interrupted;

    /// <summary>Whether a person types the input and reads the output.</summary>
    public bool IsInteractive { get; private init; }

    /// <summary>Whether <see cref="Out"/> understands colours.</summary>
    public bool HasColour { get; private init; }

    /// <summary>Whether <see cref="Out"/> is a screen, which obeys control characters; a file or another program gets the text as it is.</summary>
    public bool IsScreen { get; init; }

    /// <summary>Whether a line on <see cref="Error"/> can be drawn over.</summary>
    public bool CanRedraw { get; init; }

    /// <summary>Characters in a line of the screen.</summary>
    public int Columns { get; init; } = 80;

    /// <summary>The terminal, pipes or files this process was started with.</summary>
    public static Terminal OfThisProcess(CancellationToken interrupted)
    {
        bool isDumb = Environment.GetEnvironmentVariable("TERM") == "dumb";
        return new(Console.IsInputRedirected ? new StreamReader(Console.OpenStandardInput(), s_utf8) : Console.In, new StreamWriter(OpenStandardOutput(), s_utf8), Console.Error, interrupted)
        {
            IsInteractive = !Console.IsInputRedirected && !Console.IsOutputRedirected,
            HasColour = !Console.IsOutputRedirected && !isDumb && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")),
            IsScreen = !Console.IsOutputRedirected,
            CanRedraw = !Console.IsErrorRedirected && !isDumb,
            Columns = !Console.IsErrorRedirected && Console.WindowWidth is > 0 and int columns ? columns : 80,
        };
    }

    /// <summary>The same, with nobody reading <see cref="Out"/>.</summary>
    public Terminal WithoutOutput() => new(input, TextWriter.Null, Error, Interrupted) { CanRedraw = CanRedraw, Columns = Columns };

    /// <summary>Text of a model or of another node, as it may go to <see cref="Out"/>.</summary>
    public string Shown(string text) => IsScreen ? Printable.Lines(text) : text;

    public string Bold(string text) => Paint("1", text);

    public string Dim(string text) => Paint("2", text);

    public string Accent(string text) => Paint("36", text);

    /// <summary>The next line of the input; null = it has ended.</summary>
    /// <exception cref="OperationCanceledException">Ctrl-C.</exception>
    public Task<string?> ReadLineAsync() => UnlessInterrupted(input.ReadLine);

    /// <summary>All that is left of the input.</summary>
    /// <exception cref="OperationCanceledException">Ctrl-C.</exception>
    public Task<string> ReadToEndAsync() => UnlessInterrupted(input.ReadToEnd);

    /// <summary>Writes a part of a streamed answer so that it is seen at once.</summary>
    public void Stream(string text)
    {
        Out.Write(text);
        Out.Flush();
    }

    // a reader knows no cancellation: after Ctrl-C it is left waiting, and the process ends without it
    private Task<T> UnlessInterrupted<T>(Func<T> read) => Task.Run(read).WaitAsync(Interrupted);

    private string Paint(string code, string text) => HasColour ? $"\e[{code}m{text}\e[0m" : text;

    // Console's own stream swallows a closed pipe, so `gemma4edge render … | head` would go on to the end. A FileStream
    // reports it, but keeps its own position in a regular file, where a second writer (2>&1) needs the shared one.
    private static Stream OpenStandardOutput()
    {
        var stream = new FileStream(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
        return stream.CanSeek ? Console.OpenStandardOutput() : stream;
    }
}
