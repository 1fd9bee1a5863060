using System.Security.Cryptography;

namespace Gemma4Edge.Tests.Model;

/// <summary>The converter's files against those of an x64 machine.</summary>
/// <remarks>
/// The hashes are of <c>gemma4edge convert tests/data/oracle/tiny-a-f32.gguf m.gguf --weights FORMAT</c>: a change of the format or of an encoder changes them.
/// </remarks>
public sealed class ConvertedModelTests
{
    [Theory]
    [InlineData("tq4", "1F037E7D7E40B532FDA29E42B0CD109701BEA867A1174E04510D72C8BFE9BEE9")]
    [InlineData("tq3", "136E022259515FDEFF00AA42E4210FC6EA3B319D8BF55512BFD0CA2A9F0296B4")]
    [InlineData("tq2", "0F9989C46FE44D3A802C5C8EC32B2E1C8103EAE11E354DB0700D82F2F8ABCBEB")]
    public void Convert_WritesTheSameBytes_OnEveryCpu(string format, string sha256)
    {
        using var folder = new TemporaryFolder();
        ModelConverterTests.Convert(TestData.Path("oracle/tiny-a-f32.gguf"), folder["m.gguf"], format);
        Assert.Equal(sha256, Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(folder["m.gguf"]))));
    }
}
