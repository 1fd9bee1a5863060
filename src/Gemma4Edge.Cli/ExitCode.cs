namespace Gemma4Edge.Cli;

/// <summary>What the process returns to its caller. Part of the product's contract: scripts and systemd read them.</summary>
internal static class ExitCode
{
    public const int Done = 0;
    public const int Failed = 1;
    public const int WrongUsage = 2;
    public const int BadModelFile = 3;
    public const int Broker = 4;
    public const int NoMemoryOrDisk = 5;
    public const int Interrupted = 130;
}

/// <summary>An end that the verb itself decided on: one sentence for the user, and the code.</summary>
internal sealed class CommandException(int exitCode, string message) : Exception(message)
{
    public int ExitCode { get; } = exitCode;

    public static CommandException WrongUsage(string message) => new(Cli.ExitCode.WrongUsage, message);

    public static CommandException Failed(string message) => new(Cli.ExitCode.Failed, message);
}
