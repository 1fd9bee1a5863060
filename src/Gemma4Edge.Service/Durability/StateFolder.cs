namespace Gemma4Edge.Service.Durability;

/// <summary>Looks at a state directory, which need not exist yet, and leaves it as it is.</summary>
internal static class StateFolder
{
    /// <summary>The folder itself, or the nearest above it that exists.</summary>
    /// <exception cref="IOException">A part of the path is a file.</exception>
    public static string Nearest(string state)
    {
        string folder = Path.GetFullPath(state);
        while (!Directory.Exists(folder))
        {
            folder = File.Exists(folder) ? throw new IOException($"{folder} is a file.") : Path.GetDirectoryName(folder)!;
        }

        return folder;
    }

    /// <summary>Fails where <c>serve</c> would fail to make the folder, to write in it (tried with a file that is gone at once), or to read the journal in it.</summary>
    /// <exception cref="IOException">Nothing can be made there.</exception>
    /// <exception cref="UnauthorizedAccessException">This user may not write there.</exception>
    /// <exception cref="InvalidDataException">The journal in it is none, or damaged.</exception>
    public static void Check(string state)
    {
        string folder = Nearest(state);
        try
        {
            using var trial = new FileStream(Path.Combine(folder, $".gemma4edge-{Guid.NewGuid():N}"), FileMode.CreateNew, FileAccess.Write, FileShare.None, 0, FileOptions.DeleteOnClose);
        }
        catch (FileNotFoundException e) // as /proc answers
        {
            throw new IOException($"Nothing can be made in {folder}.", e);
        }

        RequestLedger.Check(state);
    }

    /// <summary>What <c>serve</c> and <c>config check</c> say where it cannot be used.</summary>
    public static ConfigurationException Unusable(string? state, Exception e) =>
        new($"The state directory {state} cannot be used: {e.Message} Expected a folder that only this node writes to.", e);
}
