using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Tests.Service;

public sealed class ComputePulseTests : IDisposable
{
    private readonly ScriptedModel _model = new();
    private readonly FakeTime _time = new();
    private readonly ComputePulse _pulse;

    public ComputePulseTests() => _pulse = new ComputePulse(_model.Served, _time);

    public void Dispose() => _model.Dispose();

    [Fact]
    public async Task ThreadThatWaitsForWork_Beats_HoweverSeldomSomebodyAsks()
    {
        _model.Start();
        for (int hour = 0; hour < 3; hour++)
        {
            long looks = _model.Served.Queue.Looks;
            Assert.True(_pulse.Beats);
            while (_model.Served.Queue.Looks == looks)
            {
                await Task.Delay(1, TestContext.Current.CancellationToken);
            }

            _time.Advance(TimeSpan.FromHours(1));
        }
    }

    [Fact]
    public async Task ThreadThatHangs_StopsBeating_AfterAMinute()
    {
        _model.Start();
        _model.Served.Queue.Add(new QueuedRequest(
            new PromptRequest { Id = "a1", Prompt = "wait", Sampling = Gemma4Edge.Model.SamplingOptions.Greedy, ReceivedTimestamp = 0 }, new Runtime.RecordingSink()));
        while (_model.Seen.Count == 0)
        {
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }

        Assert.True(_pulse.Beats);
        _time.Advance(TimeSpan.FromSeconds(59));
        Assert.True(_pulse.Beats);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(_pulse.Beats);
        _model.Served.Queue.Cancel("a1");
        while (_model.Done.Count == 0 || !_pulse.Beats)
        {
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }
    }
}
