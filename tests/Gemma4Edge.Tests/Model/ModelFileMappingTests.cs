using System.Diagnostics;
using System.Runtime.Versioning;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

[UnsupportedOSPlatform("windows")]
public unsafe class ModelFileMappingTests
{
    [Fact]
    public void At_StaysInsideTheFile()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["f"], [1, 2, 3]);
        using var file = new MappedFile(folder["f"]);
        Assert.Equal(3, file.Length);
        Assert.Equal([2, 3], file.Span(1, 2).ToArray());
        _ = (nint)file.At(3, 0);
        file.Advise(1, 2, MappingAdvice.Random);
        foreach ((long offset, long length) in new[] { (-1L, 1L), (0, 4), (3, 1), (4, 0), (0, -1), (long.MaxValue, 1), (1, long.MaxValue) })
        {
            Assert.ThrowsAny<ArgumentException>(() => (nint)file.At(offset, length));
        }
    }

    [Fact]
    public void At_RefusesAfterDispose()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["f"], [1]);
        var file = new MappedFile(folder["f"]);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => (nint)file.At(0, 1));
    }

    [Fact]
    public void Open_SaysWhy()
    {
        using var folder = new TemporaryFolder();
        Assert.StartsWith($"No model at {folder["absent"]}.", Message(folder["absent"]), StringComparison.Ordinal);
        Assert.StartsWith($"No model at {folder["absent/deeper"]}.", Message(folder["absent/deeper"]), StringComparison.Ordinal);
        File.WriteAllBytes(folder["empty"], []);
        Assert.Contains("empty", Message(folder["empty"]), StringComparison.Ordinal);
        Assert.Contains("config.json", Message(folder.Path), StringComparison.Ordinal);
        Assert.Contains("folder", Assert.Throws<ModelFileException>(() => new MappedFile(folder.Path)).Message, StringComparison.Ordinal);
        using (var mkfifo = Process.Start("mkfifo", folder["fifo"]))
        {
            mkfifo.WaitForExit();
        }

        Assert.Contains("no regular file", Message(folder["fifo"]), StringComparison.Ordinal);
        Assert.Contains("no regular file", Message("/dev/zero"), StringComparison.Ordinal);
    }

    [Fact]
    public void Open_SaysWhenItMayNotRead()
    {
        if (Environment.UserName == "root")
        {
            Assert.Skip("root may read everything");
        }

        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["f"], [1]);
        File.SetUnixFileMode(folder["f"], UnixFileMode.None);
        Assert.Contains("ermission", Message(folder["f"]), StringComparison.Ordinal);
    }

    private static string Message(string path) => Assert.Throws<ModelFileException>(() => LoadedModel.Open(path)).Message;
}
