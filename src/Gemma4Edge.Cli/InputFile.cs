namespace Gemma4Edge.Cli;

/// <summary>A file that a verb reads.</summary>
internal static class InputFile
{
    /// <exception cref="CommandException">It is not there, or is a folder.</exception>
    public static void Expect(string path, string what)
    {
        if (!File.Exists(path))
        {
            throw CommandException.Failed($"{path} {(Directory.Exists(path) ? "is a folder" : "does not exist")}: give {what}.");
        }
    }
}
