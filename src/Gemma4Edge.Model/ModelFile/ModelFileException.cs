using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A model file that cannot be used: missing, unreadable, cut, damaged, or of a kind this program does not run.</summary>
/// <param name="path">The file or folder.</param>
/// <param name="offsetBytes">Where in the file the trouble was seen; 0 where no single byte is to blame.</param>
/// <param name="problem">What was found and what was expected, as a sentence.</param>
/// <param name="hint">What the user can do, as a sentence.</param>
public sealed class ModelFileException(string path, long offsetBytes, string problem, string hint)
    : IOException(Printable.Line($"{Where(path, offsetBytes, problem)}{problem} {hint}"))
{
    /// <summary>What to do about a file whose bytes cannot be right.</summary>
    internal const string GetItAgain = "The file is damaged or incomplete: get it again.";

    /// <summary>What to do about a model of another kind.</summary>
    internal const string UseGemma4 = "Use a Gemma 4 text model.";

    /// <summary>The file or folder.</summary>
    public string Path { get; } = path;

    /// <summary>Where in the file the trouble was seen, in bytes; 0 where no single byte is to blame.</summary>
    public long OffsetBytes { get; } = offsetBytes;

    /// <summary>What the user can do.</summary>
    public string Hint { get; } = hint;

    private static string Where(string path, long offsetBytes, string problem) =>
        problem.Contains(path, StringComparison.Ordinal) ? "" : offsetBytes == 0 ? $"{path}: " : $"{path} at byte {offsetBytes}: ";
}
