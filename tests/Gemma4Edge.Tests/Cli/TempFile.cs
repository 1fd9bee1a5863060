namespace Gemma4Edge.Tests.Cli;

/// <summary>A file that is gone when the test is.</summary>
internal sealed class TempFile : IDisposable
{
    public TempFile(IEnumerable<string>? lines = null) => File.WriteAllLines(Path, lines ?? []);

    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"gemma4edge-test-{Guid.NewGuid():N}");

    public void Dispose() => File.Delete(Path);
}
