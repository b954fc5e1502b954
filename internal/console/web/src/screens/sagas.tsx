import { Empty, Page } from "../ui/basic";

export default function Screen() {
  return (
    <Page title="sagas">
      <Empty title="not built yet" />
    </Page>
  );
}
