using System.IO.Compression;
using System.Runtime.InteropServices;

namespace Gemma4Edge.Tests;

/// <summary>Finds the files of tests/data and the demo model. What each file is stands in tests/data/README.md.</summary>
internal static class TestData
{
    /// <summary>The clone: the folder of Gemma4Edge.sln above the test program, or GEMMA4EDGE_TEST_DATA where the program was copied elsewhere.</summary>
    public static string Root { get; } = Environment.GetEnvironmentVariable("GEMMA4EDGE_TEST_DATA") ?? FindRoot();

    /// <summary>The folder of the bundled demo model.</summary>
    public static string DemoModel { get; } = System.IO.Path.Combine(Root, "deploy", "demo-model");

    /// <summary>Full path of a file below tests/data.</summary>
    public static string Path(string relative) => System.IO.Path.Combine(Root, "tests", "data", relative);

    /// <summary>Float32 values of a file below tests/data, little-endian as every machine we run on.</summary>
    public static float[] Floats(string relative) => MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Path(relative))).ToArray();

    /// <summary>Path of the unpacked form of <paramref name="relative"/>, which stands in tests/data with the ending .br. Unpacked once per user;
    /// the rename makes it whole or absent for other test processes.</summary>
    public static string Decompressed(string relative)
    {
        var packed = new FileInfo(Path(relative + ".br"));
        string folder = Directory.CreateDirectory(System.IO.Path.Combine(
            System.IO.Path.GetTempPath(), $"gemma4edge-tests-{Environment.UserName}-{packed.Length}")).FullName;
        string unpacked = System.IO.Path.Combine(folder, System.IO.Path.GetFileName(relative));
        if (File.Exists(unpacked))
        {
            return unpacked;
        }

        string half = $"{unpacked}.{Guid.NewGuid():N}";
        using (var from = new BrotliStream(packed.OpenRead(), CompressionMode.Decompress))
        using (FileStream to = File.Create(half))
        {
            from.CopyTo(to);
        }

        File.Move(half, unpacked, overwrite: true);
        return unpacked;
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "Gemma4Edge.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException(
            $"No Gemma4Edge.sln above {AppContext.BaseDirectory}: set GEMMA4EDGE_TEST_DATA to the clone's folder.");
    }
}
