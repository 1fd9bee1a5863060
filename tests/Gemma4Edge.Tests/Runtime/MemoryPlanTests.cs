using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;

namespace Gemma4Edge.Tests.Runtime;

public sealed class MemoryPlanTests : IDisposable
{
    private const int Sessions = 8;
    private readonly LoadedModel _model = LoadedModel.Open(TestData.DemoModel);

    public void Dispose() => _model.Dispose();

    [Fact]
    public void EveryBudget_GetsAPlanInsideIt_OrIsRefusedWithItsNumbers()
    {
        EngineOptions options = Options();
        long all = MemoryPlan.Of(_model, options, _model.Config.MaxPositionEmbeddings, options.Kv, Sessions).TotalBytes;
        List<int> contexts = [];
        int refused = 0;
        for (long budget = all / 4; budget <= all + (1 << 20); budget += all / 200)
        {
            try
            {
                MemoryPlan plan = MemoryPlan.Choose(_model, options, isKvFree: true, Sessions, budget);
                Assert.True(plan.TotalBytes <= budget, $"{plan.TotalBytes} for a budget of {budget}");
                contexts.Add(plan.Context);
            }
            catch (InsufficientMemoryException e)
            {
                Assert.Empty(contexts); // what is too little once was too little before
                Assert.Contains(ByteSize.Text(budget), e.Message, StringComparison.Ordinal);
                refused++;
            }
        }

        Assert.Equal(contexts.Order(), contexts);
        Assert.Equal(_model.Config.MaxPositionEmbeddings, contexts[^1]);
        Assert.True(contexts[0] < contexts[^1]);
        Assert.True(refused > 10);
    }

    [Fact]
    public void WhatWasAskedFor_IsKeptOrRefused()
    {
        long tight = MemoryPlan.Of(_model, Options(), 512, KvCacheFormat.Default, Sessions).TotalBytes;
        Assert.Equal(512, MemoryPlan.Choose(_model, Options(512), isKvFree: false, Sessions, tight).Context);
        Assert.Throws<InsufficientMemoryException>(() => MemoryPlan.Choose(_model, Options(1024), isKvFree: false, Sessions, tight));
        Assert.Throws<InsufficientMemoryException>(() => MemoryPlan.Choose(_model, Options(512) with { Kv = KvCacheFormat.F32 }, isKvFree: false, Sessions, tight));
    }

    [Fact]
    public void FreeKvFormat_IsPackedTighter_WhereThatHelps()
    {
        using LoadedModel wide = LoadedModel.Open(TestData.Path("oracle/tiny-e-f32.gguf"));
        foreach (LoadedModel model in (LoadedModel[])[_model, wide])
        {
            MemoryPlan loose = MemoryPlan.Of(model, Options(64), 64, KvCacheFormat.F32, Sessions);
            MemoryPlan packed = MemoryPlan.Of(model, Options(64), 64, KvCacheFormat.All.Single(format => format.Preset == "k4v4"), Sessions);
            Assert.True(packed.TotalBytes < loose.TotalBytes);
            Assert.Equal("k4v4", MemoryPlan.Choose(model, Options(64) with { Kv = KvCacheFormat.F32 }, isKvFree: true, Sessions, packed.TotalBytes).Kv.Preset);
        }
    }

    [Theory]
    [InlineData("1500000000", 1_500_000_000)]
    [InlineData("1.5GiB", 1_610_612_736)]
    [InlineData("800 MB", 800_000_000)]
    [InlineData("75%", 3_000)]
    public void Sizes_AreReadAsPeopleWriteThem(string text, long bytes)
    {
        Assert.True(MemorySize.TryParse(text, out MemorySize size));
        Assert.Equal(bytes, size.On(4_000));
    }

    [Theory]
    [InlineData("much")]
    [InlineData("0")]
    [InlineData("-1GB")]
    [InlineData("101%")]
    [InlineData("1e99")]
    [InlineData("GB")]
    public void OtherTexts_AreNoSizes(string text) => Assert.False(MemorySize.TryParse(text, out _));

    private static EngineOptions Options(int context = 0) => new() { Model = TestData.DemoModel, Context = context };
}
