using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public sealed unsafe class MappedRangeTests
{
    [Fact]
    public void ResidentBytes_AreThosePagesThatThisProcessTouched()
    {
        const int Length = 1 << 20;
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["f"], new byte[Length]); // all of it is in the page cache now
        using var file = new MappedFile(folder["f"]);
        var whole = new MappedRange("weights", (nint)file.At(0, Length), Length);
        var odd = new MappedRange("weights", (nint)file.At((Length / 2) + 100, 10), 10);
        Assert.Equal((0, 0), (whole.CountResidentBytes(), odd.CountResidentBytes()));

        Assert.Equal(0, file.Span((Length / 2) + 100, 1)[0]);
        Assert.InRange(whole.CountResidentBytes()!.Value, Environment.SystemPageSize, Length); // how many neighbours come along is the kernel's choice
        Assert.Equal(10, odd.CountResidentBytes());

        for (int at = 0; at < Length; at += Environment.SystemPageSize)
        {
            Assert.Equal(0, file.Span(at, 1)[0]);
        }

        Assert.Equal(Length, whole.CountResidentBytes());
        file.Advise(0, Length, MappingAdvice.DontNeed);
        Assert.Equal(0, whole.CountResidentBytes());
    }
}
