using Gemma4Edge.Runtime;
using Gemma4Edge.Service;

namespace Gemma4Edge.Cli;

/// <summary>Takes lines from a person until there are no more.</summary>
internal static class LineLoop
{
    /// <summary>Gives every line that is not empty to <paramref name="takeLine"/>, until it returns false or the input ends.</summary>
    /// <exception cref="OperationCanceledException">Ctrl-C.</exception>
    public static async Task RunAsync(Terminal terminal, string greeting, Func<string, Task<bool>> takeLine)
    {
        if (terminal.IsInteractive)
        {
            terminal.Out.WriteLine(terminal.Dim(greeting));
        }

        while (true)
        {
            if (terminal.IsInteractive)
            {
                terminal.Stream(terminal.Bold("> "));
            }

            string? line = await terminal.ReadLineAsync().ConfigureAwait(false);
            if (line is null)
            {
                return;
            }

            try
            {
                if (!string.IsNullOrWhiteSpace(line) && !await takeLine(line).ConfigureAwait(false))
                {
                    return;
                }
            }
            catch (Exception e) when (e is CommandException or ConfigurationException or ContextOverflowException or FileNotFoundException or DirectoryNotFoundException or UnauthorizedAccessException)
            {
                terminal.Error.WriteLine(e.Message); // a wrong command does not end a conversation
            }

            terminal.Out.Flush();
        }
    }
}
