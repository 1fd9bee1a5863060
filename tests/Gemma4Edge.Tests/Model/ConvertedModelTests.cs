using System.Security.Cryptography;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Model;

/// <summary>The converter's files, and their logits, against those of an x64 machine.</summary>
/// <remarks>
/// The hashes are of <c>gemma4edge convert tests/data/oracle/tiny-a-f32.gguf m.gguf --weights FORMAT</c>: a change of the format or of an encoder changes them.
/// tests/data/README.md says how the logits were made.
/// </remarks>
public sealed class ConvertedModelTests
{
    private static readonly int[] s_tokens = [2, 17, 300, 45, 9, 128, 401, 77, 5, 260, 33, 498, 12, 64, 199, 350];

    [Theory]
    [InlineData("tq4", "1F037E7D7E40B532FDA29E42B0CD109701BEA867A1174E04510D72C8BFE9BEE9")]
    [InlineData("tq3", "136E022259515FDEFF00AA42E4210FC6EA3B319D8BF55512BFD0CA2A9F0296B4")]
    [InlineData("tq2", "0F9989C46FE44D3A802C5C8EC32B2E1C8103EAE11E354DB0700D82F2F8ABCBEB")]
    public void Convert_WritesTheSameBytes_AndTheyMeanTheSame_OnEveryCpu(string format, string sha256)
    {
        using var folder = new TemporaryFolder();
        ModelConverterTests.Convert(TestData.Path("oracle/tiny-a-f32.gguf"), folder["m.gguf"], format);
        Assert.Equal(sha256, Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(folder["m.gguf"]))));

        Assert.InRange(Differences(folder["m.gguf"], $"tiny-a-{format}", ActivationFormat.Float).Max(), 0, 1e-4);
        if (format == "tq4")
        {
            // An activation that lies between two integers may be rounded up on one CPU and down on another, where sums of floats before it are
            // ordered differently; a random network makes much of one such step. So rows without any must agree, and most have none.
            double[] rows = [.. Differences(folder["m.gguf"], "tiny-a-tq4-int8", ActivationFormat.Int8).Order()];
            Assert.InRange(rows[rows.Length / 2], 0, 1e-4);
            Assert.InRange(rows[^1], 0, 0.5);
        }
    }

    /// <summary>Per row the largest difference to the stored logits, whose standard deviation is about 3.</summary>
    private static IEnumerable<double> Differences(string model, string stored, ActivationFormat activations)
    {
        using TestNetwork network = TestNetwork.Open(model, activations: activations);
        float[] logits = network.Run(s_tokens, network.NewCache(), 16);
        float[] expected = TestData.Floats($"converted/{stored}.logits");
        Assert.Equal(expected.Length, logits.Length);
        return [.. expected.Zip(logits, (a, b) => Math.Abs((double)a - b)).Chunk(expected.Length / s_tokens.Length).Select(row => row.Max())];
    }
}
