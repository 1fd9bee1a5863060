using Gemma4Edge.Kernels;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Cli;

/// <summary>Synthetic models on disk: made once, then reused.</summary>
internal static class SyntheticFile
{
    private const int Seed = 1;

    /// <summary>The file of that size and format in <paramref name="folder"/>; made if it is not there yet.</summary>
    /// <exception cref="IOException">It cannot be written, or the disk has no room for it.</exception>
    public static string Make(Terminal terminal, string size, QuantFormat format, string? folder)
    {
        folder = Directory.CreateDirectory(folder ?? DefaultFolder).FullName;
        string path = Path.Combine(folder, $"synthetic-{size}-{format}.gguf");
        if (File.Exists(path))
        {
            return path;
        }

        long bytes = SyntheticModel.MatrixBytes(size, format);
        using var progress = new Progress(terminal, $"Making {path}");
        SyntheticModel.Write(path, size, format, Seed, share => progress.Report((long)(share * bytes / 1e6), (long)(bytes / 1e6)), terminal.Interrupted);
        return path;
    }

    private static string DefaultFolder
    {
        get
        {
            string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            return Path.Combine(
                string.IsNullOrEmpty(cache) ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache") : cache,
                "gemma4edge");
        }
    }
}
